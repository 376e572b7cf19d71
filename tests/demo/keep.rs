//! What is left to the user at the end.

use crate::{
    screen::Screen,
    stage::Stage,
    steps::{FILE, NAME},
    stop::{self, Stop},
};
use std::{path::Path, thread, time::Duration};

/// How soon Ctrl-C is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// For a run that ends by itself.
pub(crate) fn how_to_go_on(screen: &Screen) {
    screen.say("To play with it:         cargo demo -- --keep");
    screen.say("To install it:           README.md, \"Run it\"");
    screen.say("Other things to apply:   examples/");
}

/// Leaves everything running until Ctrl-C, and says how to use it.
pub(crate) fn until_interrupted(stage: &Stage) -> Result<(), Stop> {
    let screen = &stage.screen;
    let control_plane = stage.world.control_plane();
    screen.heading("It all keeps running; to play with it in another terminal:");
    let kubeconfig = control_plane.admin_kubeconfig().display();
    screen.line(&format!("export KUBECONFIG={kubeconfig}"));
    if !is_on_path("kubectl") {
        let kubectl = control_plane.kubectl();
        let program = Path::new(kubectl.get_program()).display();
        screen.line(&format!("alias kubectl={program}"));
    }
    let file = stage.dir().join(FILE);
    screen.line(&format!("kubectl apply -f {}", file.display()));
    screen.line(&format!(
        "kubectl patch fsub {NAME} --type=merge -p '{{\"spec\":{{\"limits\":{{\"seats\":75}}}}}}'"
    ));
    screen.line(&format!("kubectl describe fsub {NAME}"));
    screen.say("");
    screen.say(&format!("The vendor's page: {}/", stage.world.vendor.url()));
    screen.say(&format!(
        "The file is examples/{FILE} with the vendor's URL; edit it and apply it again."
    ));
    screen.say("Ctrl-C stops and removes everything.");
    while stop::check().is_ok() {
        control_plane
            .check_running()
            .map_err(|error| Stop::Broken(error.to_string()))?;
        thread::sleep(LOOK_EVERY);
    }
    screen.say("Stopping and removing everything …");
    Ok(())
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}
