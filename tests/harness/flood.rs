//! A flood of requests to a listener, from connections that are kept, from new ones, and from some
//! that say nothing.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How long a flooder waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who floods: a thread each.
#[derive(Clone, Copy, Debug)]
pub enum Flooder {
    /// Sends on so many connections, one after the other, and keeps each as long as it may.
    Kept(usize),
    /// Sends each request on a connection of its own.
    New,
    /// Holds so many connections open and says nothing.
    Silent(usize),
}

/// What the flood was answered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answered {
    /// 404
    pub not_found: u64,
    /// 429
    pub too_many: u64,
    /// Any other status.
    pub otherwise: u64,
    /// Connections that were refused, or ended without an answer.
    pub broken: u64,
}

impl Answered {
    /// All requests that were answered.
    pub fn total(&self) -> u64 {
        self.not_found + self.too_many + self.otherwise
    }
}

#[derive(Debug, Default)]
struct Counts {
    not_found: AtomicU64,
    too_many: AtomicU64,
    otherwise: AtomicU64,
    broken: AtomicU64,
}

/// A flood that goes on until it is dropped.
#[derive(Debug)]
pub struct Flood {
    over: Arc<AtomicBool>,
    counts: Arc<Counts>,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    /// Posts to `http://<address><path>`; each flooder rests for so long after each request.
    pub fn start(address: &str, path: &str, rest: Duration, flooders: &[Flooder]) -> Self {
        let (over, counts) = (Arc::<AtomicBool>::default(), Arc::<Counts>::default());
        let request =
            format!("POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 2\r\n\r\n{{}}");
        let threads = flooders.iter().map(|flooder| {
            let (over, counts) = (Arc::clone(&over), Arc::clone(&counts));
            let sender = Sender {
                address: address.to_owned(),
                request: request.clone(),
                rest,
                over,
                counts,
            };
            match *flooder {
                Flooder::Kept(connections) => thread::spawn(move || sender.send(connections, true)),
                Flooder::New => thread::spawn(move || sender.send(1, false)),
                Flooder::Silent(connections) => thread::spawn(move || sender.hold(connections)),
            }
        });
        let threads = threads.collect();
        Self {
            over,
            counts,
            threads,
        }
    }

    /// What it was answered up to now.
    pub fn answered(&self) -> Answered {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Answered {
            not_found: read(&self.counts.not_found),
            too_many: read(&self.counts.too_many),
            otherwise: read(&self.counts.otherwise),
            broken: read(&self.counts.broken),
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "a flooder failed");
        }
    }
}

struct Sender {
    address: String,
    request: String,
    rest: Duration,
    over: Arc<AtomicBool>,
    counts: Arc<Counts>,
}

impl Sender {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    fn connect(&self) -> Option<TcpStream> {
        let stream = TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.set_nodelay(true).ok()?;
        Some(stream)
    }

    /// A request on each of the connections, then their answers, and again.
    fn send(&self, connections: usize, keep: bool) {
        let mut open: Vec<Option<TcpStream>> = (0..connections).map(|_| None).collect();
        while self.goes_on() {
            for slot in &mut open {
                let mut stream = slot.take().or_else(|| self.connect());
                let sent = stream
                    .as_mut()
                    .is_some_and(|stream| stream.write_all(self.request.as_bytes()).is_ok());
                *slot = stream.filter(|_| sent);
            }
            for slot in &mut open {
                let kept = slot.take().and_then(|stream| self.answer(stream));
                *slot = kept.filter(|_| keep);
                thread::sleep(self.rest);
                if !self.goes_on() {
                    return;
                }
            }
        }
    }

    /// Reads an answer and counts it; the connection, where the server keeps it.
    fn answer(&self, mut stream: TcpStream) -> Option<TcpStream> {
        let mut head = [0; 1024];
        let read = stream.read(&mut head).unwrap_or_default();
        let text = String::from_utf8_lossy(&head[..read]);
        let counts = &self.counts;
        let count = match text.get(9..12) {
            None => &counts.broken,
            Some("404") => &counts.not_found,
            Some("429") => &counts.too_many,
            Some(_) => &counts.otherwise,
        };
        count.fetch_add(1, Ordering::Relaxed);
        (read > 0 && !text.contains("connection: close")).then_some(stream)
    }

    /// Opens connections, and new ones where they are closed.
    fn hold(&self, connections: usize) {
        let mut open: Vec<Option<TcpStream>> = (0..connections).map(|_| None).collect();
        while self.goes_on() {
            for slot in &mut open {
                *slot = slot.take().filter(is_open).or_else(|| {
                    let stream = self.connect()?;
                    stream.set_nonblocking(true).ok()?;
                    Some(stream)
                });
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Whether the other side has not closed it; for one that does not block.
fn is_open(stream: &TcpStream) -> bool {
    let peeked = stream.peek(&mut [0]);
    peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}
