//! Workloads that are kept as they are in Git. Pure.
//!
//! Only steps that change what stands in Git ask: rollback (the template) and scale (the replicas). A restart, a pause, a
//! cordon and a deleted pod are in no manifest: Argo CD's own action "restart" sets the very annotation that a restart
//! sets, and Flux applies its fields only.

use crate::api::alert_response::Gitops;

/// Why a step that changes `object` is refused, if it is. `owner` is who keeps it.
pub fn refusal(gitops: Gitops, owner: Option<String>, object: &str) -> Option<String> {
    let owner = owner.filter(|_| gitops == Gitops::Respect)?;
    Some(format!(
        "{object} is kept by {owner}, which would put the change back: change it at the source, or set guardrails.gitops to Ignore if it does not"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_keeps_is_left_alone_unless_the_author_says_otherwise() {
        let owner = || Some("Flux Kustomization shop".to_owned());
        let why = refusal(Gitops::Respect, owner(), "Deployment web").unwrap();
        assert!(why.starts_with("Deployment web is kept by Flux Kustomization shop, which would put the change back"));
        assert_eq!(refusal(Gitops::Ignore, owner(), "Deployment web"), None);
        assert_eq!(refusal(Gitops::Respect, None, "Deployment web"), None);
    }
}
