//! Direct delivery of a message to a NotificationChannel, without Alertmanager: what the operator itself has to say.

use kube::Client;

use super::destination::{self, Destination, Service};
use super::error::DeliveryError;
use super::message::Message;
use super::{pagerduty, slack, teams, webhook};
use crate::response::run::Receipt;

/// Sends the message once to a channel by its name.
pub async fn to_channel(
    client: &Client,
    http: &reqwest::Client,
    namespace: &str,
    name: &str,
    message: &Message,
) -> Result<Receipt, DeliveryError> {
    deliver(http, &destination::find(client, namespace, name).await?, message).await
}

/// Sends the message once. An end is not told to who does not want to hear of ends.
pub async fn deliver(http: &reqwest::Client, to: &Destination, message: &Message) -> Result<Receipt, DeliveryError> {
    let Destination { service, send_resolved } = to;
    if message.stage.is_end() && !send_resolved {
        return Ok(Receipt { reference: message.reference.clone(), incident: false });
    }
    match service {
        Service::Slack(slack) => slack::send(http, slack, message).await,
        Service::Pagerduty(pagerduty) => {
            let receipt = pagerduty::send(http, pagerduty, message).await?;
            // Nobody waits for a resolution that will not be told.
            Ok(Receipt { incident: receipt.incident && *send_resolved, ..receipt })
        }
        Service::Webhook(webhook) => webhook::send(http, webhook, message).await,
        Service::Email(mailer) => mailer.send(message).await,
        Service::Teams(url) => teams::send(http, url, message).await,
        Service::Github(_) => Err(DeliveryError::NotForPeople),
    }
}
