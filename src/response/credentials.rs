//! Who may deliver alerts: stacks by a bearer token each, everybody else by one user and password.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::alertmanagers::{StackName, source_of};
use crate::context::Context;
use crate::k8s::meta::MANAGED_BY;

/// Label of the Secrets that hold the token of a stack.
pub const RECEIVER_TOKEN: &str = "evenkeel.dev/receiver-token";
/// A shorter token is taken for a mistake and never accepted.
const MIN_LENGTH: usize = 16;

/// Equal, in a time that tells neither content nor length.
fn same(a: &[u8], b: &[u8]) -> Choice {
    Sha256::digest(a).as_slice().ct_eq(Sha256::digest(b).as_slice())
}

fn value<'a>(secret: &'a Secret, key: &str) -> &'a [u8] {
    secret.data.as_ref().and_then(|data| data.get(key)).map(|value| value.0.as_slice()).unwrap_or_default()
}

/// The stack whose token this is, as `stack NAMESPACE/NAME`. After a rotation the previous token counts as well.
/// Looks at every Secret, whether or not one has matched.
pub fn bearer(secrets: &[(StackName, Arc<Secret>)], token: &str) -> Option<String> {
    let mut sender = None;
    for (stack, secret) in secrets {
        for key in ["token", "previous"] {
            let known = value(secret, key);
            if bool::from(same(known, token.as_bytes())) && known.len() >= MIN_LENGTH {
                sender = Some(source_of(stack));
            }
        }
    }
    sender
}

/// Whether user and password are those of the Secret.
pub fn basic(secret: Option<&Secret>, user: &str, password: &str) -> bool {
    let Some(secret) = secret else { return false };
    let (known_user, known_password) = (value(secret, "username"), value(secret, "password"));
    let equal = same(known_user, user.as_bytes()) & same(known_password, password.as_bytes());
    bool::from(equal) && !known_user.is_empty() && known_password.len() >= MIN_LENGTH
}

/// What an `Authorization` header says.
#[derive(Debug, PartialEq, Eq)]
pub enum Claim {
    Bearer(String),
    Basic(String, String),
}

/// `None` for anything that is neither a bearer token nor a user and password.
pub fn claim(header: &str) -> Option<Claim> {
    let (scheme, rest) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Claim::Bearer(rest.trim().to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some(Claim::Basic(user.to_owned(), password.to_owned()))
}

/// Makes the Secret of `POST /webhook/alert` with random values if there is none. One that is there is left alone.
pub async fn ensure_webhook_secret(context: &Context) -> Result<(), kube::Error> {
    let settings = &context.settings;
    let api = Api::<Secret>::namespaced(context.client.clone(), &settings.namespace);
    if api.get_metadata_opt(&settings.webhook_secret).await?.is_some() {
        return Ok(());
    }
    let password = ByteString(random_token().into_bytes());
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(settings.webhook_secret.clone()),
            labels: Some(BTreeMap::from([("app.kubernetes.io/managed-by".into(), MANAGED_BY.into())])),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([
            ("username".into(), ByteString(b"evenkeel".to_vec())),
            ("password".into(), password),
        ])),
        type_: Some("Opaque".into()),
        ..Secret::default()
    };
    match api.create(&PostParams::default(), &secret).await {
        Ok(_) => tracing::info!(name = settings.webhook_secret, "made the credentials of /webhook/alert"),
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// 256 random bits.
fn random_token() -> String {
    let bytes: [u8; 32] = rand::random();
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(data: &[(&str, &str)]) -> Secret {
        let data = data.iter().map(|(k, v)| ((*k).to_owned(), ByteString(v.as_bytes().to_vec()))).collect();
        Secret { data: Some(data), ..Secret::default() }
    }

    fn of_stack(data: &[(&str, &str)]) -> (StackName, Arc<Secret>) {
        (("monitoring".into(), "main".into()), Arc::new(secret(data)))
    }

    #[test]
    fn the_present_and_the_previous_token_of_a_stack_are_accepted() {
        let secrets = [of_stack(&[("token", "new-token-0123456789"), ("previous", "old-token-0123456789")])];
        for token in ["new-token-0123456789", "old-token-0123456789"] {
            assert_eq!(bearer(&secrets, token).as_deref(), Some("stack monitoring/main"));
        }
        for token in ["", "new-token", "new-token-0123456789x"] {
            assert_eq!(bearer(&secrets, token), None, "{token:?}");
        }
    }

    #[test]
    fn an_empty_or_short_secret_opens_nothing() {
        let empty = [of_stack(&[("token", ""), ("previous", "short")]), of_stack(&[])];
        for token in ["", "short"] {
            assert_eq!(bearer(&empty, token), None);
        }
        assert!(!basic(Some(&secret(&[("username", ""), ("password", "")])), "", ""));
        assert!(!basic(None, "", ""));
        let full = secret(&[("username", "evenkeel"), ("password", "0123456789abcdef")]);
        assert!(basic(Some(&full), "evenkeel", "0123456789abcdef"));
        assert!(!basic(Some(&full), "evenkeel", "0123456789abcdeX"));
    }

    #[test]
    fn the_header_is_read_as_rfc_7617_and_6750_have_it() {
        assert_eq!(claim("Bearer abc"), Some(Claim::Bearer("abc".into())));
        // A password may hold colons.
        assert_eq!(claim("basic dXNlcjpwYXNzOndvcmQ="), Some(Claim::Basic("user".into(), "pass:word".into())));
        for wrong in ["", "Bearer", "Basic !!!", "Digest x", "Basic bm9jb2xvbg=="] {
            assert_eq!(claim(wrong), None, "{wrong}");
        }
    }
}
