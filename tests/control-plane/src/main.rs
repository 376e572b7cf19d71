//! Builds the control plane's binaries, or runs a control plane until Ctrl-C.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use control_plane::{Assets, ControlPlane, interrupted};

const USAGE: &str = "\
usage: control-plane build
           build whatever is missing: kube-apiserver, etcd, kubectl, kube-controller-manager, helm
       control-plane run [--controllers]
           run a control plane until Ctrl-C, and print how to reach it; with --controllers, so that
           deleted namespaces go away and garbage is collected, also kube-controller-manager
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["build"] => build(),
        ["run"] => run(false),
        ["run", "--controllers"] => run(true),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("control-plane: {error}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    let assets = Assets::find_or_build()?;
    let mut stdout = io::stdout().lock();
    for path in [assets.kube_apiserver(), assets.etcd(), assets.kubectl()] {
        writeln!(stdout, "{}", path.display())?;
    }
    writeln!(stdout, "{}", assets.kube_controller_manager()?.display())?;
    writeln!(stdout, "{}", assets.helm()?.display())?;
    Ok(())
}

fn run(controllers: bool) -> Result<(), Box<dyn Error>> {
    let assets = Assets::find_or_build()?;
    // After the build, which Ctrl-C is welcome to end at once.
    if interrupted()? {
        return Ok(());
    }
    let control_plane = ControlPlane::start(&assets)?;
    if controllers {
        control_plane.start_controller_manager()?;
    }
    let kubeconfig = control_plane.admin_kubeconfig().display();
    writeln!(io::stdout(), "export KUBECONFIG={kubeconfig}")?;
    eprintln!("running at {} until Ctrl-C", control_plane.url());
    eprintln!("kubectl: {}", assets.kubectl().display());
    while !interrupted()? {
        control_plane.check_running()?;
        thread::sleep(Duration::from_millis(100));
    }
    control_plane.stop();
    Ok(())
}
