//! Email by SMTP.

use std::time::Duration;

use jiff::Timestamp;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::error::DeliveryError;
use super::message::{Message, cut};
use crate::api::notification_channel::Email;
use crate::hidden::Hidden;
use crate::response::run::Receipt;

/// Time for one delivery; HTTP has the client's own.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest subject, in characters: what a client shows is less.
const SUBJECT: usize = 300;

/// An address with the server that takes letters to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Mailer {
    pub email: Email,
    pub password: Option<Hidden>,
}

fn wrong(field: &'static str, value: &str, problem: impl ToString) -> DeliveryError {
    DeliveryError::Email { field, value: value.to_owned(), problem: problem.to_string() }
}

/// The letter. All letters of one dedup_key belong to one thread. Pure.
pub fn letter(email: &Email, message: &Message, now: Timestamp) -> Result<lettre::Message, DeliveryError> {
    let mailbox =
        |field: &'static str, value: &str| value.trim().parse::<Mailbox>().map_err(|error| wrong(field, value, error));
    let subject: String = message.title.chars().filter(|c| !c.is_control()).collect();
    let from = mailbox("email.from", &email.from)?;
    let mut letter = lettre::Message::builder().from(from).subject(cut(&subject, SUBJECT));
    for to in email.to.split(',').filter(|to| !to.trim().is_empty()) {
        letter = letter.to(mailbox("email.to", to)?);
    }
    let key: String = message.dedup_key.chars().filter(char::is_ascii_graphic).collect();
    letter
        .message_id(Some(format!("<{key}.{}@evenkeel>", now.as_millisecond())))
        .references(format!("<{key}@evenkeel>"))
        .body(message.text.clone())
        .map_err(|error| wrong("email.to", &email.to, error))
}

impl Mailer {
    /// Hands one letter to the server.
    pub async fn send(&self, message: &Message) -> Result<Receipt, DeliveryError> {
        let Self { email, password } = self;
        let letter = letter(email, message, Timestamp::now())?;
        let smarthost = |problem: &str| wrong("email.smarthost", &email.smarthost, problem);
        let (host, port) = email.smarthost.rsplit_once(':').ok_or_else(|| smarthost("write it as host:port"))?;
        let port: u16 = port.parse().map_err(|_| smarthost("the port is not a number"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let tls = TlsParameters::new(host.to_owned()).map_err(DeliveryError::Smtp)?;
        let tls = match (port, email.require_tls) {
            // The port of SMTP over TLS, by registration.
            (465, _) => Tls::Wrapper(tls),
            (_, true) => Tls::Required(tls),
            (_, false) => Tls::Opportunistic(tls),
        };
        let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host);
        let mut transport = transport.port(port).tls(tls).timeout(Some(TIMEOUT));
        if let (Some(username), Some(password)) = (&email.username, password) {
            transport = transport.credentials(Credentials::new(username.clone(), password.expose().to_owned()));
        }
        transport.build().send(letter).await.map(|_| Receipt::default()).map_err(DeliveryError::Smtp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::message::{Stage, example};

    #[test]
    fn letters_about_one_run_are_one_thread_and_a_title_cannot_add_a_header() {
        let email = Email {
            to: "a@example.com, b@example.com".into(),
            from: "Evenkeel <e@example.com>".into(),
            smarthost: "smtp.example.com:587".into(),
            username: None,
            password_secret_ref: None,
            require_tls: true,
        };
        let message = Message { title: "Down\r\nBcc: x@example.com".into(), ..example(Stage::News) };
        let letter = letter(&email, &message, Timestamp::from_second(7).unwrap()).unwrap();
        let text = String::from_utf8(letter.formatted()).unwrap();
        assert!(text.contains("References: <uid-1@evenkeel>") && text.contains("Message-ID: <uid-1.7000@evenkeel>"));
        assert!(!text.contains("\r\nBcc"), "{text}");
    }
}
