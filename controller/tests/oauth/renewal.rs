//! When a token is renewed: before it ends, beside the calls. Time is moved, not waited for.

use super::*;

/// How long a token is good, in seconds; it is renewed when 48 of them are over.
const LIFE: u64 = 60;

/// A token endpoint and a vendor in one. It numbers its tokens and gives none while it is `down`.
struct Issuer {
    server: Server,
    down: Arc<Mutex<bool>>,
}

impl Issuer {
    async fn start() -> Self {
        let down = Arc::<Mutex<bool>>::default();
        let (is_down, issued) = (Arc::clone(&down), Mutex::new(0));
        let server = Server::start(move |request| {
            if !is_token(request) {
                return http("200 OK", "", TENANT);
            }
            if *is_down.lock().unwrap() {
                return http("503 Service Unavailable", "", "");
            }
            let mut issued = issued.lock().unwrap();
            *issued += 1;
            token_for(&format!("t-{issued}"), LIFE)
        });
        Self {
            server: server.await,
            down,
        }
    }

    fn is_down(&self, down: bool) {
        *self.down.lock().unwrap() = down;
    }

    /// Waits until it was asked for so many tokens.
    async fn asked(&self, times: usize) {
        let asked = async {
            while self.server.tokens() < times {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let asked = tokio::time::timeout(Duration::from_secs(30), asked).await;
        assert!(
            asked.is_ok(),
            "no token was asked for: {:?}",
            self.server.seen()
        );
        assert_eq!(self.server.tokens(), times);
    }
}

/// The token a call is made with.
async fn used(issuer: &Issuer, client: &VendorClient) -> String {
    client.get("t-1", &Order::default()).await.unwrap();
    let seen = issuer.server.seen();
    let call = seen.iter().rfind(|request| !is_token(request)).unwrap();
    let bearer = call.split_once("Bearer ").unwrap().1;
    bearer.split_once('\r').unwrap().0.to_owned()
}

/// Waits until calls are made with this token, which was given.
async fn comes_to_be_used(issuer: &Issuer, client: &VendorClient, token: &str) {
    let found = async { while used(issuer, client).await != token {} };
    let found = tokio::time::timeout(Duration::from_secs(30), found).await;
    assert!(found.is_ok(), "{token} is not used");
}

/// Lets so many seconds go by at once. Between jumps the clock goes on as clocks do, for sockets
/// know of no other.
async fn jump(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_token_is_renewed_beside_the_calls_before_it_ends() {
    let issuer = Issuer::start().await;
    let client = client_of(&issuer.server);
    assert_eq!(used(&issuer, &client).await, "t-1");
    // Most of its life is over, and it is not asked for another.
    jump(LIFE / 2).await;
    assert_eq!(used(&issuer, &client).await, "t-1");
    issuer.asked(1).await;
    // Past 80 %, and good for eleven more seconds: who comes now goes on with it, and has it renewed.
    jump(LIFE / 2 - 11).await;
    assert_eq!(used(&issuer, &client).await, "t-1");
    issuer.asked(2).await;
    comes_to_be_used(&issuer, &client, "t-2").await;
    issuer.asked(2).await;
}

#[tokio::test]
async fn a_renewal_that_fails_is_tried_again_while_the_token_is_good() {
    let issuer = Issuer::start().await;
    let client = client_of(&issuer.server);
    assert_eq!(used(&issuer, &client).await, "t-1");
    issuer.is_down(true);
    jump(LIFE - 11).await;
    assert_eq!(used(&issuer, &client).await, "t-1");
    issuer.asked(2).await;
    issuer.is_down(false);
    // No call fails of it, and the endpoint is not asked by each.
    assert_eq!(used(&issuer, &client).await, "t-1");
    jump(2).await;
    comes_to_be_used(&issuer, &client, "t-2").await;
    issuer.asked(3).await;
}
