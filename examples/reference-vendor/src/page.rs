//! The web page: the tenants, and what is pending for them. Plain HTML, no script.

use crate::{
    admin::edit,
    answer::Refusal,
    decision::{Decided, Decision},
    desk::path_segment,
    store::StoreError,
    tenant::{RequestStatus, Tenant},
    vendor::Vendor,
};
use axum::{
    Form, Router,
    extract::{Path, State},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY},
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt::{self, Display, Write as _},
    sync::Arc,
};

type Shared = State<Arc<Vendor>>;

/// The list shows the newest tenants only; a load test makes thousands.
const LISTED: usize = 200;

const STYLE: &str = "
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem;
  color: #1c2430; background: #fff }
h1 { font-size: 1.5rem } a { color: #0b57d0 }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .4rem .8rem .4rem 0;
  border-bottom: 1px solid #d8dde5; overflow-wrap: anywhere }
form { display: flex; flex-wrap: wrap; gap: .3rem } input, button { font: inherit }
input { width: 12rem } .quiet { color: #5b6675 }
@media (prefers-color-scheme: dark) {
  body { color: #e4e8ee; background: #14181f } a { color: #8ab4f8 }
  th, td { border-color: #343b47 } .quiet { color: #9aa5b5 } }
";

pub(crate) fn routes() -> Router<Arc<Vendor>> {
    Router::new()
        .route("/", get(list))
        .route("/t/{id}", get(show))
        .route("/t/{id}/decide", post(decide))
        // Browsers ask for it unasked, and it is no call to the tenant API.
        .route("/favicon.ico", get(async || StatusCode::NOT_FOUND))
}

async fn list(State(vendor): Shared) -> Result<Response, StoreError> {
    let tenants = vendor
        .store
        .read(|snapshot| snapshot.tenants(Timestamp::now()))
        .await?;
    let mut rows = String::new();
    for tenant in tenants.iter().rev().take(LISTED) {
        let cells = [
            format!(
                "<a href=\"/t/{}\">{}</a>",
                path_segment(&tenant.id),
                Escaped(&tenant.id)
            ),
            Escaped(tenant.external_id.as_deref().unwrap_or("–")).to_string(),
            Escaped(tenant.product.as_deref().unwrap_or("–")).to_string(),
            tenant.status.to_string(),
            limits(tenant),
            request(tenant),
            buttons(tenant, "list"),
        ];
        rows.push_str("<tr>");
        for cell in cells {
            let _infallible = write!(rows, "<td>{cell}</td>");
        }
        rows.push_str("</tr>\n");
    }
    let body = format!(
        "<h1>Tenants</h1>\n<p class=\"quiet\">{} in all{}.</p>\n\
         <table>\n<tr><th>Tenant<th>External id<th>Product<th>Status<th>Limits<th>Request<th></tr>\n\
         {rows}</table>\n",
        tenants.len(),
        if tenants.len() > LISTED {
            format!(", the newest {LISTED} shown")
        } else {
            String::new()
        },
    );
    Ok(page("Tenants", &body))
}

/// The page of one tenant, where its activation link leads.
async fn show(State(vendor): Shared, Path(id): Path<String>) -> Result<Response, StoreError> {
    let tenant = vendor
        .store
        .read(move |snapshot| snapshot.tenant(&id, Timestamp::now()))
        .await?;
    let Some(tenant) = tenant else {
        let page = page(
            "No such tenant",
            "<h1>No such tenant</h1>\n<p><a href=\"/\">All</a></p>",
        );
        return Ok((StatusCode::NOT_FOUND, page).into_response());
    };
    let mut rows = String::new();
    let mut row = |name: &str, cell: &str| {
        let _infallible = writeln!(rows, "<tr><th>{}<td>{cell}</tr>", Escaped(name));
    };
    row(
        "External id",
        &Escaped(tenant.external_id.as_deref().unwrap_or("–")).to_string(),
    );
    row(
        "Product",
        &Escaped(tenant.product.as_deref().unwrap_or("–")).to_string(),
    );
    row("Status", &tenant.status.to_string());
    row("Limits", &limits(&tenant));
    row("Request", &request(&tenant));
    row("Created", &tenant.created.to_string());
    for (name, value) in &tenant.outputs {
        // Whoever has the link may see this page, but the password is for the customer alone.
        let hidden = tenant.sensitive.contains(name);
        let text = if hidden {
            "(hidden)".to_owned()
        } else {
            plain(value)
        };
        row(name, &Escaped(&text).to_string());
    }
    for (name, value) in &tenant.terms.tiers {
        row(
            &format!("Tier: {name}"),
            &Escaped(&plain(value)).to_string(),
        );
    }
    let heading = Escaped(&tenant.id);
    let buttons = buttons(&tenant, "tenant");
    let body = format!(
        "<p><a href=\"/\">All tenants</a></p>\n<h1>{heading}</h1>\n\
         <table>\n{rows}</table>\n<p></p>\n{buttons}\n"
    );
    Ok(page(&tenant.id, &body))
}

/// What a button sends.
#[derive(Debug, Deserialize)]
struct Pressed {
    status: Decided,
    #[serde(default)]
    reason: String,
    /// The page to go back to.
    #[serde(default)]
    from: String,
}

async fn decide(
    State(vendor): Shared,
    Path(id): Path<String>,
    Form(pressed): Form<Pressed>,
) -> Result<Response, StoreError> {
    let back = if pressed.from == "list" {
        "/".to_owned()
    } else {
        format!("/t/{}", path_segment(&id))
    };
    let Pressed { status, reason, .. } = pressed;
    let decision = Decision {
        status,
        reason,
        parameter_errors: BTreeMap::new(),
    };
    let decided = edit(&vendor, id, move |tenant| {
        tenant.decide(decision).then_some(()).ok_or_else(|| {
            Refusal::new(
                StatusCode::CONFLICT,
                "nothing_pending",
                "it was decided before",
            )
        })
    });
    let decided = decided.await?;
    let done = decided.status().is_success();
    Ok(if done {
        Redirect::to(&back).into_response()
    } else {
        decided
    })
}

fn limits(tenant: &Tenant) -> String {
    let lines: Vec<String> = tenant
        .terms
        .limits
        .iter()
        .map(|(name, limit)| format!("{}: {}", Escaped(name), Escaped(&limit.to_string())))
        .collect();
    lines.join("<br>")
}

fn request(tenant: &Tenant) -> String {
    let request = &tenant.request;
    let mut text = match &tenant.open {
        Some(open) => format!("{} {}", open.mutation, request.status),
        None => request.status.to_string(),
    };
    if !request.reason.is_empty() {
        let _infallible = write!(text, "<br>{}", Escaped(&request.reason));
    }
    for (name, message) in &request.parameter_errors {
        let _infallible = write!(text, "<br>{}: {}", Escaped(name), Escaped(message));
    }
    text
}

fn buttons(tenant: &Tenant, from: &str) -> String {
    if tenant.open.is_none() {
        return String::new();
    }
    let inquire = if tenant.request.status == RequestStatus::Pending {
        "<button name=\"status\" value=\"inquiring\">Inquire</button>"
    } else {
        ""
    };
    format!(
        "<form method=\"post\" action=\"/t/{}/decide\">\
         <input type=\"hidden\" name=\"from\" value=\"{from}\">\
         <input name=\"reason\" placeholder=\"Reason\" aria-label=\"Reason\">\
         <button name=\"status\" value=\"approved\">Approve</button>\
         <button name=\"status\" value=\"failed\">Fail</button>{inquire}</form>",
        path_segment(&tenant.id)
    )
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn page(title: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{} – reference vendor</title>\n<style>{STYLE}</style>\n{body}</html>\n",
        Escaped(title)
    );
    // Should anything ever escape the escaping, it still cannot run.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; \
                  base-uri 'none'; frame-ancestors 'none'";
    let headers = [
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, Html(html)).into_response()
}

/// Text as it may stand in HTML, in an attribute too.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}
