//! The last look before the socket. A client looks before it sends, but then comes a name, a
//! connection and a handshake, and a process can be stopped in each of them: so a body looks once
//! more when it is written, which is when the connection stands and nothing but a system call is left.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::Instant;

use crate::lease::Fence;

/// Why a request was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotSent {
    /// Its deadline has passed.
    #[error("the create was not sent in time; it is tried again")]
    Late,
    /// Another process may act now.
    #[error("this replica does not lead any more: nothing was sent")]
    Fenced,
}

/// What must hold for a request to be sent.
#[derive(Clone, Debug)]
pub(super) struct LastLook {
    pub(super) fence: Fence,
    /// When it is too late, where there is such a time.
    pub(super) deadline: Option<Instant>,
}

impl LastLook {
    /// # Errors
    ///
    /// Says why it may not be sent now.
    pub(super) fn may_go(&self) -> Result<(), NotSent> {
        if self.deadline.is_some_and(|at| Instant::now() >= at) {
            return Err(NotSent::Late);
        }
        if self.fence.holds() {
            Ok(())
        } else {
            Err(NotSent::Fenced)
        }
    }

    /// The request with a body that looks. It is one piece, so that a vendor gets all of it or nothing,
    /// and its length is known before.
    pub(super) fn over(self, request: &mut reqwest::Request) {
        let bytes = request.body().and_then(reqwest::Body::as_bytes);
        if let Some(bytes) = bytes.map(Bytes::copy_from_slice) {
            *request.body_mut() = Some(reqwest::Body::wrap(Looking {
                look: self,
                bytes: Some(bytes),
            }));
        }
    }
}

/// A body in one piece that looks when it is asked for it.
struct Looking {
    look: LastLook,
    bytes: Option<Bytes>,
}

impl Body for Looking {
    type Data = Bytes;
    type Error = NotSent;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NotSent>>> {
        let Some(bytes) = self.bytes.take() else {
            return Poll::Ready(None);
        };
        Poll::Ready(Some(self.look.may_go().map(|()| Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |b| b.len() as u64))
    }
}

/// What stopped a request that was on its way to the socket.
pub(super) fn stopped(error: &reqwest::Error) -> Option<NotSent> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(why) = error.downcast_ref::<NotSent>() {
            return Some(*why);
        }
        cause = error.source();
    }
    None
}
