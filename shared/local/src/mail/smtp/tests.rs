//! SMTP against a small server that speaks just enough of it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::*;

/// What the server saw, line by line, and the messages that it took.
#[derive(Default)]
struct Seen {
    lines: Vec<String>,
    messages: Vec<String>,
}

/// A server on a free port. Each line of the client's is answered by `reply`; `None` is the usual answer.
fn server(reply: impl Fn(&str) -> Option<&'static str> + Send + 'static) -> (u16, Arc<Mutex<Seen>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let record = Arc::clone(&seen);
    // Ends with the test's process; every connection ends with the client's.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = converse(&stream, &reply, &record);
        }
    });
    (port, seen)
}

fn converse(
    mut stream: &TcpStream,
    reply: &impl Fn(&str) -> Option<&'static str>,
    seen: &Mutex<Seen>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    stream.write_all(b"220 mail.example ESMTP\r\n")?;
    while let Some(line) = lines.next().transpose()? {
        seen.lock().unwrap().lines.push(line.clone());
        let answer = reply(&line).unwrap_or(match &line[..line.len().min(4)] {
            "EHLO" => "250-mail.example\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN",
            "AUTH" => "235 2.7.0 accepted",
            "DATA" => "354 go on",
            "QUIT" => "221 bye",
            _ => "250 OK",
        });
        stream.write_all(format!("{answer}\r\n").as_bytes())?;
        if line == "DATA" && answer.starts_with("354") {
            let mut message = String::new();
            for line in lines.by_ref() {
                let line = line?;
                if line == "." {
                    break;
                }
                message.push_str(&line);
                message.push('\n');
            }
            seen.lock().unwrap().messages.push(message);
            stream.write_all(format!("{}\r\n", reply(".").unwrap_or("250 queued")).as_bytes())?;
        }
    }
    Ok(())
}

fn mail(recipients: &[&str]) -> Mail {
    Mail {
        sender: "cloudvigil@example.com".into(),
        recipients: recipients.iter().map(|&to| to.to_owned()).collect(),
        subject: "Trail stopped".into(),
        message: b"Subject: Trail stopped\r\n\r\nWho did it\r\n.hidden dot\r\n".to_vec(),
    }
}

fn smtp(port: u16) -> Smtp {
    Smtp::new(&format!("smtp://127.0.0.1:{port}"), None).unwrap()
}

#[tokio::test]
async fn hands_over_the_message_and_its_envelope() {
    let (port, seen) = server(|_| None);
    smtp(port).send(&mail(&["a@example.com", "b@example.com"])).await.unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen.lines.iter().any(|line| line.starts_with("MAIL FROM:<cloudvigil@example.com>")), "{:?}", seen.lines);
    for to in ["RCPT TO:<a@example.com>", "RCPT TO:<b@example.com>"] {
        assert!(seen.lines.iter().any(|line| line == to), "{:?}", seen.lines);
    }
    assert_eq!(seen.messages, ["Subject: Trail stopped\n\nWho did it\n..hidden dot\n"]);
}

#[tokio::test]
async fn the_reply_s_class_decides_whether_to_try_again() {
    for (at, answer, failure) in [
        ("MAIL", "451 4.3.0 later", Failure::Transient),
        ("RCPT", "450 4.2.1 greylisted", Failure::Transient),
        ("RCPT", "550 5.1.1 no such user", Failure::Permanent),
        (".", "554 5.7.1 looks like spam \u{1b}[31m", Failure::Permanent),
        ("EHLO", "421 4.3.2 shutting down", Failure::Transient),
    ] {
        let (port, _) = server(move |line| line.starts_with(at).then_some(answer));
        let error = smtp(port).send(&mail(&["a@example.com"])).await.unwrap_err();
        assert_eq!(error.failure, failure, "{at} {answer}: {error}");
        let text = error.to_string();
        assert!(text.contains("Trail stopped") && text.contains(&format!("127.0.0.1:{port}")), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}

#[tokio::test]
async fn one_refused_recipient_does_not_cost_the_others_their_mail() {
    let (port, seen) = server(|line| line.contains("TO:<gone@").then_some("550 5.1.1 no such user"));
    let error = smtp(port).send(&mail(&["a@example.com", "gone@example.com", "b@example.com"])).await.unwrap_err();
    assert_eq!(error.failure, Failure::Permanent);
    let text = error.to_string();
    assert!(text.contains("gone@example.com") && !text.contains("a@example.com"), "{text}");
    assert_eq!(seen.lock().unwrap().messages.len(), 2);
}

#[tokio::test]
async fn a_server_that_is_not_there_may_be_there_later() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_eq!(smtp(port).send(&mail(&["a@example.com"])).await.unwrap_err().failure, Failure::Transient);
}

#[tokio::test]
async fn without_starttls_nothing_is_sent_where_tls_is_required() {
    let (port, seen) = server(|_| None);
    let address = format!("smtp://user:p%40ss@127.0.0.1:{port}?tls=required");
    let error = Smtp::new(&address, None).unwrap().send(&mail(&["a@example.com"])).await.unwrap_err();
    assert_eq!(error.failure, Failure::Permanent, "{error}");
    let lines = seen.lock().unwrap().lines.join("\n");
    assert!(!lines.contains("AUTH") && !lines.contains("MAIL"), "{lines}");
}

#[tokio::test]
async fn credentials_are_used_and_never_shown() {
    // PLAIN is base64 of NUL user NUL password (RFC 4616).
    let (port, seen) = server(|_| None);
    let from_address = Smtp::new(&format!("smtp://user:p%40ss@127.0.0.1:{port}"), None).unwrap();
    from_address.send(&mail(&["a@example.com"])).await.unwrap();
    let given =
        Smtp::new(&format!("smtp://user:p%40ss@127.0.0.1:{port}"), Some(Credentials::new("other", "secret"))).unwrap();
    given.send(&mail(&["a@example.com"])).await.unwrap();
    let lines = seen.lock().unwrap().lines.join("\n");
    assert!(lines.contains("AUTH PLAIN AHVzZXIAcEBzcw=="), "{lines}");
    assert!(lines.contains("AUTH PLAIN AG90aGVyAHNlY3JldA=="), "{lines}");

    let (port, _) = server(|line| line.starts_with("AUTH").then_some("535 5.7.8 wrong"));
    let refused = Smtp::new(&format!("smtp://user:p%40ss@127.0.0.1:{port}"), None).unwrap();
    let error = refused.send(&mail(&["a@example.com"])).await.unwrap_err();
    assert_eq!(error.failure, Failure::Permanent);
    for text in [error.to_string(), format!("{error:?}"), format!("{refused:?}"), format!("{given:?}")] {
        for secret in ["p@ss", "p%40ss", "secret", "AHVzZXIAcEBzcw"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn addresses_that_will_not_do_are_errors_without_the_password() {
    for address in [
        "mail.example.com",
        "http://user:hunter2@mail.example.com",
        "smtp://user:hunter2@mail.example.com",
        "smtp://user:hunter2@mail.example.com?tls=maybe",
        "smtp://user:hunter2@mail.example.com:99999",
        "smtps://",
    ] {
        let error = Smtp::new(address, None).unwrap_err();
        assert_eq!(error.failure, Failure::Permanent);
        assert!(error.to_string().contains("smtps://host"), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    let secret = Some(Credentials::new("user", "hunter2"));
    assert!(Smtp::new("smtp://mail.example.com", secret.clone()).is_err());
    assert!(Smtp::new("smtp://localhost", secret.clone()).is_ok());
    assert!(Smtp::new("smtp://[::1]:2525", secret.clone()).is_ok());
    assert!(Smtp::new("smtps://mail.example.com", secret).is_ok());
}

#[tokio::test]
async fn an_address_that_would_add_a_command_is_refused() {
    let (port, seen) = server(|_| None);
    let error = smtp(port).send(&mail(&["a@example.com>\r\nRCPT TO:<evil@example.com"])).await.unwrap_err();
    assert_eq!(error.failure, Failure::Permanent);
    assert!(seen.lock().unwrap().lines.is_empty());
}
