//! Grafana's first user, where a person names no Secret: made once, and kept. Pure.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::names::{GENERATED, GRAFANA, grafana_admin};
use crate::hidden::Hidden;
use crate::k8s::meta::Owner;

/// Key of the user's name.
pub const USER: &str = "admin-user";
/// Key of the password.
pub const PASSWORD: &str = "admin-password";

/// Name and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    pub user: String,
    pub password: Hidden,
}

impl Admin {
    /// With a password that nobody has seen yet.
    pub fn new(password: Hidden) -> Self {
        Self { user: "admin".into(), password }
    }

    /// What a Secret holds; `None` when it lacks one of them, as when somebody emptied it.
    pub fn of(secret: &Secret) -> Option<Self> {
        let value = |key: &str| {
            let bytes = &secret.data.as_ref()?.get(key)?.0;
            std::str::from_utf8(bytes).ok().filter(|value| !value.is_empty())
        };
        Some(Self { user: value(USER)?.to_owned(), password: Hidden::new(value(PASSWORD)?) })
    }

    pub fn secret(&self, owner: &Owner) -> Secret {
        let mut metadata = owner.child(grafana_admin(&owner.name), GRAFANA);
        metadata.labels.get_or_insert_default().insert(GENERATED.into(), "true".into());
        let bytes = |value: &str| ByteString(value.as_bytes().to_vec());
        let data = BTreeMap::from([
            (USER.to_owned(), bytes(&self.user)),
            (PASSWORD.to_owned(), bytes(self.password.expose())),
        ]);
        Secret { metadata, data: Some(data), type_: Some("Opaque".into()), ..Secret::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_gives_back_what_was_put_into_it_and_an_emptied_one_nothing() {
        let owner = Owner {
            api_version: "evenkeel.dev/v1alpha1".into(),
            kind: "MonitoringStack".into(),
            namespace: "monitoring".into(),
            name: "main".into(),
            uid: "u-1".into(),
        };
        let admin = Admin { user: "ada".into(), password: Hidden::new("s3cret") };
        assert_eq!(Admin::of(&admin.secret(&owner)), Some(admin.clone()));
        assert_eq!(Admin::of(&Secret::default()), None);
        assert!(!format!("{admin:?}").contains("s3cret"));
    }
}
