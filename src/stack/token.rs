//! The token by which a stack's Alertmanager proves itself to the alert receiver. Pure.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::names::{RECEIVER_TOKEN, ROTATE_TOKEN, receiver_token};
use crate::hidden::Hidden;
use crate::k8s::meta::Owner;

/// Key of the token in force.
pub const TOKEN: &str = "token";
/// Key of the token before the last rotation, which the receiver still takes: an Alertmanager whose volume has not
/// been refreshed yet loses no alert.
pub const PREVIOUS: &str = "previous";

/// The tokens of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    pub token: Hidden,
    pub previous: Option<Hidden>,
    /// The rotation that was asked for last.
    pub rotation: Option<String>,
}

impl Tokens {
    /// What a Secret holds; `None` when it has no token, as when somebody emptied it.
    pub fn of(secret: &Secret) -> Option<Self> {
        let value = |key: &str| {
            let bytes = &secret.data.as_ref()?.get(key)?.0;
            std::str::from_utf8(bytes).ok().filter(|v| !v.is_empty()).map(Hidden::new)
        };
        Some(Self {
            token: value(TOKEN)?,
            previous: value(PREVIOUS),
            rotation: secret.annotations().get(ROTATE_TOKEN).cloned(),
        })
    }

    /// The tokens that should be: the present ones, or, when a rotation is asked for that was not done yet, `fresh`
    /// with the present one as the previous.
    pub fn decide(present: Option<Self>, asked: Option<&str>, fresh: Hidden) -> Self {
        match present {
            None => Self { token: fresh, previous: None, rotation: asked.map(str::to_owned) },
            Some(present) if asked.is_none() || asked == present.rotation.as_deref() => present,
            Some(present) => Self { token: fresh, previous: Some(present.token), rotation: asked.map(str::to_owned) },
        }
    }

    pub fn secret(&self, owner: &Owner) -> Secret {
        let mut metadata = owner.child(receiver_token(&owner.name), "alertmanager");
        metadata.labels.get_or_insert_default().insert(RECEIVER_TOKEN.into(), "true".into());
        if let Some(rotation) = &self.rotation {
            metadata.annotations.get_or_insert_default().insert(ROTATE_TOKEN.into(), rotation.clone());
        }
        let bytes = |value: &Hidden| ByteString(value.expose().as_bytes().to_vec());
        let mut data = BTreeMap::from([(TOKEN.to_owned(), bytes(&self.token))]);
        data.extend(self.previous.as_ref().map(|previous| (PREVIOUS.to_owned(), bytes(previous))));
        Secret { metadata, data: Some(data), type_: Some("Opaque".into()), ..Secret::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner {
            api_version: "evenkeel.dev/v1alpha1".into(),
            kind: "MonitoringStack".into(),
            namespace: "monitoring".into(),
            name: "main".into(),
            uid: "u-1".into(),
        }
    }

    fn decide(present: Option<Tokens>, asked: Option<&str>, fresh: &str) -> Tokens {
        Tokens::decide(present, asked, Hidden::new(fresh))
    }

    #[test]
    fn a_token_stays_until_a_new_rotation_is_asked_for() {
        let first = decide(None, None, "a");
        assert_eq!(decide(Some(first.clone()), None, "b"), first);
        let second = decide(Some(first), Some("monday"), "b");
        assert_eq!((second.token.expose(), second.previous.as_ref().map(Hidden::expose)), ("b", Some("a")));
        assert_eq!(decide(Some(second.clone()), Some("monday"), "c"), second);
        assert_eq!(decide(Some(second.clone()), None, "c"), second, "taking the annotation away rotates nothing");
        let third = decide(Some(second), Some("tuesday"), "c");
        assert_eq!((third.token.expose(), third.previous.as_ref().map(Hidden::expose)), ("c", Some("b")));
    }

    #[test]
    fn the_secret_gives_back_what_was_put_into_it() {
        let tokens = decide(Some(decide(None, None, "old")), Some("now"), "new");
        assert_eq!(Tokens::of(&tokens.secret(&owner())), Some(tokens));
        assert_eq!(Tokens::of(&Secret::default()), None);
    }

    #[test]
    fn a_token_is_never_printed() {
        assert!(!format!("{:?}", decide(None, None, "s3cret")).contains("s3cret"));
    }
}
