//! What every answer should be like, whatever it answers.

use data_encoding::HEXLOWER;

use super::{
    Run,
    bench::{Ask, Stop},
    finding::Check,
};
use crate::vendor::{Class, Said};

/// Reads a tenant of ours with credentials that are none.
pub(super) async fn credentials(run: &mut Run, id: &str) -> Result<(), Stop> {
    if !run.bench.has_credentials() {
        let what = "the connection shows no credentials";
        run.findings.skip(Check::Credentials, what);
        return Ok(());
    }
    let heard = run.bench.call(Ask::GetAsStranger(id)).await?;
    let wrong = match heard {
        Err(error) if error.class == Class::Auth => {
            run.findings.pass(Check::Credentials, error.message);
            return Ok(());
        }
        Err(error) if error.status.is_none() => {
            run.findings.pass(Check::Credentials, error.message);
            return Ok(());
        }
        Err(error) => error.message,
        Ok(answer) => match answer.said {
            Said::Absent => {
                "a tenant that is there is said to be gone, which looks like a loss".into()
            }
            Said::Tenant(_) | Said::Done | Said::Accepted(_) | Said::Exists(_) | Said::Found(_) => {
                "they are answered with success".into()
            }
        },
    };
    let what = format!("wrong credentials: {wrong}; answer 401 or 403");
    run.findings.fail(Check::Credentials, what);
    Ok(())
}

/// Reads a tenant that is not there. Only read: nothing is known of whose id it may be.
pub(super) async fn unknown_id(run: &mut Run, id: &str) -> Result<(), Stop> {
    let Ok(unknown) = like(id) else {
        return Ok(());
    };
    let wrong = match run.bench.call(Ask::Get(&unknown)).await? {
        Ok(answer) if matches!(answer.said, Said::Absent) => {
            let status = run.bench.record.last().map_or(0, |last| last.status);
            run.findings
                .pass(Check::UnknownId, format!("answered {status}"));
            return Ok(());
        }
        Ok(_) => "it is answered with success, so what is gone is never missed".to_owned(),
        Err(error) => error.message,
    };
    let what = format!("GET of {unknown}, which is no tenant: {wrong}; answer 404 or 410");
    run.findings.fail(Check::UnknownId, what);
    Ok(())
}

/// An id of the same form that nobody has.
fn like(id: &str) -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    let groups: Vec<usize> = id.split('-').map(str::len).collect();
    if groups == [8, 4, 4, 4, 12] && id.chars().all(|c| c == '-' || c.is_ascii_hexdigit()) {
        let mut digits = HEXLOWER.encode(&bytes).into_bytes().into_iter();
        let other = id.chars().map(|c| match c {
            '-' => '-',
            _ => digits.next().map_or('0', char::from),
        });
        return Ok(other.collect());
    }
    let digits: String = bytes
        .iter()
        .take(9)
        .map(|b| char::from(b'0' + b % 10))
        .collect();
    Ok(format!("{id}{digits}"))
}

/// What is to be said of all answers together.
pub(super) fn all(run: &mut Run) {
    let answers = run.bench.record.all();
    let success = |status: u16| (200..300).contains(&status) || status == 409;
    let mut bodies = answers.iter().filter(|a| a.has_body && success(a.status));
    match bodies.clone().find(|a| !a.content_type.contains("json")) {
        Some(other) => {
            let kind = match other.content_type.as_str() {
                "" => "without a Content-Type",
                kind => kind,
            };
            let what = format!(
                "the answer to {} is {kind}: say application/json",
                other.operation.as_str()
            );
            run.findings.fail(Check::ContentType, what);
        }
        None if bodies.next().is_some() => run.findings.pass(Check::ContentType, "JSON"),
        None => run
            .findings
            .skip(Check::ContentType, "no answer had a body"),
    }
    let mut waits = answers.iter().filter_map(|a| a.retry_after.as_ref());
    match waits.clone().find(|wait| !wait.understood) {
        Some(wait) => {
            let what = format!(
                "\"{}\" is neither seconds nor an HTTP date, and is not looked at",
                wait.said
            );
            run.findings.fail(Check::RetryAfter, what);
        }
        None if waits.next().is_some() => run.findings.pass(Check::RetryAfter, "understood"),
        None => run.findings.skip(Check::RetryAfter, "no answer had one"),
    }
    match &run.bench.lag {
        Some((what, lag)) => {
            let seconds = lag.as_secs_f64();
            let what = format!(
                "GET showed {what} only {seconds:.1} s after it was answered: read what was written"
            );
            run.findings.fail(Check::FreshReads, what);
        }
        None if !run.findings.lack(Check::Read) && !run.findings.failed(Check::Read) => {
            run.findings.pass(
                Check::FreshReads,
                "each GET showed what was answered before it",
            );
        }
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_id_has_the_form_of_a_known_one() {
        let known = "0b7a4c9e-63b1-4b7c-9d52-1f0e8a6c3d21";
        let unknown = like(known).unwrap();
        assert_ne!(unknown, known);
        let form = |id: &str| id.split('-').map(str::len).collect::<Vec<_>>();
        assert_eq!(form(&unknown), form(known));
        assert!(like("1001").unwrap().parse::<u64>().is_ok());
        assert!(like("t-1001").unwrap().starts_with("t-1001"));
    }
}
