//! The network between the operator and both of its sides, as bad as it is told to be.
//!
//! The operator speaks plain http to it on either side: its kubeconfig and its connections name the
//! proxy. Towards the API server the proxy speaks TLS.

use super::{
    fault::Fault,
    script::Script,
    spot::{self, Deed, Side},
};
use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, TRANSFER_ENCODING},
};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use reqwest::{Body, Client};
use serde_json::json;
use std::{
    fmt,
    future::poll_fn,
    io,
    net::Ipv4Addr,
    pin::Pin,
    sync::{Arc, OnceLock},
};
use tokio::{net::TcpListener, runtime::Handle};

/// Kills the operator; it is known only when the proxy already runs.
pub(super) type Kill = Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>;

/// The connection is closed without an answer.
#[derive(Clone, Copy, Debug)]
struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is cut")
    }
}

impl std::error::Error for Cut {}

type Answer = Result<Response<Body>, Cut>;

/// The way to one side.
pub(super) struct Proxy {
    pub(super) side: Side,
    /// Of the API server; a vendor's is the cell's.
    pub(super) upstream: String,
    pub(super) client: Client,
    pub(super) script: Arc<Script>,
    pub(super) kill: Kill,
}

/// A call that has come in whole.
#[derive(Clone)]
struct Call {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Proxy {
    /// Serves as long as the runtime lives; says where.
    pub(super) fn serve(self, runtime: &Handle) -> io::Result<String> {
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let url = format!("http://{}", listener.local_addr()?);
        let proxy = Arc::new(self);
        runtime.spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                // Small answers should not wait for more to send.
                drop(stream.set_nodelay(true));
                let proxy = Arc::clone(&proxy);
                let service = service_fn(move |request| {
                    let proxy = Arc::clone(&proxy);
                    async move { proxy.answer(request).await }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                // One that ends early is what faults and kills are about.
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(url)
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let body = whole(body).await?;
        let target = head.uri.path_and_query().map_or("/", |t| t.as_str());
        let (url, deed) = self.place(&head.method, target, &body).ok_or(Cut)?;
        let mut headers = head.headers;
        for hop in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
            headers.remove(hop);
        }
        let call = Call {
            method: head.method,
            url,
            headers,
            body,
        };
        let Some(deed) = deed else {
            return self.forward(call).await;
        };
        let create = deed.side == Side::Vendor && call.method == Method::POST;
        let (under_way, fault) = self.script.meet(deed);
        // On its own: a call that is on its way arrives, also when its caller is no more.
        let arrives = tokio::spawn(async move {
            if create {
                self.script.pass_gate().await;
            }
            let answer = match fault {
                Some(fault) => self.inflict(fault, call).await,
                None => self.forward(call).await,
            };
            drop(under_way);
            answer
        });
        arrives.await.unwrap_or(Err(Cut))
    }

    /// Where a call goes, and what it does if it is numbered.
    fn place(&self, method: &Method, target: &str, body: &[u8]) -> Option<(String, Option<Deed>)> {
        match self.side {
            Side::Cluster => {
                let deed = spot::at_cluster(method, target, body, &self.script.cell());
                Some((format!("{}{target}", self.upstream), deed))
            }
            Side::Vendor => {
                let (cell, _) = target.strip_prefix('/')?.split_once('/')?;
                let path = target.get(cell.len() + 1..)?;
                let vendor = self.script.vendor_of(cell)?;
                let deed = spot::at_vendor(method, path);
                Some((format!("{vendor}{path}"), Some(deed)))
            }
        }
    }

    async fn inflict(&self, fault: Fault, call: Call) -> Answer {
        match fault {
            Fault::DieBefore => {
                self.die().await;
                Err(Cut)
            }
            Fault::DropRequest => Err(Cut),
            Fault::DropAnswer => {
                self.arrive(call).await?;
                Err(Cut)
            }
            Fault::ApplyAndDie => {
                self.arrive(call).await?;
                self.die().await;
                Err(Cut)
            }
            Fault::Delay => {
                tokio::time::sleep(Fault::delay(self.side)).await;
                self.forward(call).await
            }
            Fault::Duplicate => {
                self.arrive(call.clone()).await?;
                self.forward(call).await
            }
            Fault::Conflict => Ok(self.refusal(StatusCode::CONFLICT, "Conflict")),
            Fault::TooMany => {
                let mut answer = self.refusal(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests");
                let later = HeaderValue::from_static("1");
                answer.headers_mut().insert(RETRY_AFTER, later);
                Ok(answer)
            }
            Fault::Unavailable => {
                Ok(self.refusal(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"))
            }
            Fault::Garbage => {
                let status = match self.arrive(call).await? {
                    // It could have no body.
                    StatusCode::NO_CONTENT => StatusCode::OK,
                    status => status,
                };
                Ok(json_answer(status, "{\"kind\": \"Stat"))
            }
        }
    }

    async fn forward(&self, call: Call) -> Answer {
        let Call {
            method,
            url,
            headers,
            body,
        } = call;
        let request = self.client.request(method, url).headers(headers).body(body);
        let answer = request.send().await.map_err(|_| Cut)?;
        let mut answer: Response<Body> = answer.into();
        for hop in [CONNECTION, TRANSFER_ENCODING] {
            answer.headers_mut().remove(hop);
        }
        Ok(answer)
    }

    /// Forwards a call, and waits until it is answered whole.
    async fn arrive(&self, call: Call) -> Result<StatusCode, Cut> {
        let answer = self.forward(call).await?;
        let status = answer.status();
        whole(answer.into_body()).await?;
        Ok(status)
    }

    async fn die(&self) {
        let kill = Arc::clone(&self.kill);
        let killed = tokio::task::spawn_blocking(move || kill.get().map(|kill| kill()));
        // A panic there shows in the cell, whose operator still lives.
        drop(killed.await);
        self.script.died();
    }

    /// An answer of somebody between, in the words of the side.
    fn refusal(&self, status: StatusCode, reason: &str) -> Response<Body> {
        let message = "the network says so";
        let body = match self.side {
            Side::Cluster => json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "reason": reason, "message": message, "code": status.as_u16(),
            }),
            Side::Vendor => json!({"error": {"code": reason, "message": message}}),
        };
        json_answer(status, &body.to_string())
    }
}

fn json_answer(status: StatusCode, body: &str) -> Response<Body> {
    let mut answer = Response::new(Body::from(body.to_owned()));
    *answer.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}

/// A body to its end.
async fn whole<B>(mut body: B) -> Result<Bytes, Cut>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let mut bytes = BytesMut::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        if let Ok(data) = frame.map_err(|_| Cut)?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.freeze())
}
