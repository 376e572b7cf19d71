//! A way to the API server that can be cut, for one replica alone.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    thread,
};

/// How a network is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Connections break, and new ones are closed at once.
    Refuse,
    /// Connections stay and nothing comes through; so it is with new ones.
    Hang,
}

const WHOLE: u8 = 0;
const REFUSES: u8 = 1;
const HANGS: u8 = 2;

#[derive(Debug, Default)]
struct Shared {
    state: AtomicU8,
    open: Mutex<Vec<TcpStream>>,
}

/// A TCP proxy on the loopback interface.
#[derive(Debug)]
pub(super) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Starts one in front of a server.
    pub(super) fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        // It waits for connections until the process ends.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let _ = of_thread.take(client, server);
            }
        });
        Ok(Self { port, shared })
    }

    /// Where it is.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Cuts the way.
    pub(super) fn cut(&self, how: Cut) {
        let state = match how {
            Cut::Refuse => REFUSES,
            Cut::Hang => HANGS,
        };
        self.shared.state.store(state, Ordering::SeqCst);
        if how == Cut::Refuse {
            self.shared.close_all();
        }
    }

    /// Mends it: what hung is closed, new connections come through.
    pub(super) fn mend(&self) {
        self.shared.close_all();
        self.shared.state.store(WHOLE, Ordering::SeqCst);
    }
}

impl Shared {
    fn take(self: &Arc<Self>, client: TcpStream, server: SocketAddr) -> io::Result<()> {
        if self.state.load(Ordering::SeqCst) == REFUSES {
            return client.shutdown(Shutdown::Both);
        }
        let server = TcpStream::connect(server)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push(client.try_clone()?);
        open.push(server.try_clone()?);
        drop(open);
        self.carry(client.try_clone()?, server.try_clone()?);
        self.carry(server, client);
        Ok(())
    }

    /// Carries bytes one way until either side ends; while the way hangs they are swallowed.
    fn carry(self: &Arc<Self>, mut from: TcpStream, mut to: TcpStream) {
        let shared = Arc::clone(self);
        thread::spawn(move || {
            let mut bytes = [0u8; 16 * 1024];
            while let Ok(n @ 1..) = from.read(&mut bytes) {
                let whole = shared.state.load(Ordering::SeqCst) == WHOLE;
                if whole && to.write_all(&bytes[..n]).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        });
    }

    fn close_all(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
