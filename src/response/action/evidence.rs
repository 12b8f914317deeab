//! On what a rollback rests: that the present release was there before the alert, and what is known of the one before.

use jiff::{SignedDuration, Timestamp};

use crate::api::alert_response::Rollback;
use crate::k8s::workload::{History, Revision, Since, rollout_completed};
use crate::response::facts::Workload;
use crate::response::guard::short;

/// Prometheus and the API server have clocks of their own, and creation times are whole seconds.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(10);

/// Why a rollback is not supported.
pub enum Unsupported {
    /// `onlyIfChangedWithin` is not met.
    Condition(String),
    /// Nothing says that the change caused the alert.
    Evidence(String),
}

/// The evidence that the present release may have caused the alert: it began before the alert did.
pub fn support(
    step: &Rollback,
    history: &History,
    workload: &Workload,
    onset: Option<Timestamp>,
) -> Result<String, Unsupported> {
    let present = history.present();
    let title = present.title();
    let Some(onset) = onset else {
        let why = "the alert does not say when it began".to_owned();
        return match (step.only_if_changed_within, step.without_evidence) {
            (Some(within), _) => {
                Err(Unsupported::Condition(format!("{why}: onlyIfChangedWithin {within} cannot be judged")))
            }
            (None, true) => Ok(format!("{why}; withoutEvidence waives the evidence")),
            (None, false) => Err(Unsupported::Evidence(format!("{why}: no evidence that {title} caused it"))),
        };
    };
    let (earliest, latest) = match history.began(present) {
        Since::At(began) => (Some(began), Some(began)),
        Since::After(earliest) => (earliest, rollout_completed(&workload.object)),
    };
    if let Some(within) = step.only_if_changed_within {
        let limit = onset.checked_sub(within.span());
        let limit = limit.unwrap_or(Timestamp::MIN);
        match earliest {
            Some(earliest) if earliest >= limit => {}
            _ => {
                let since = latest.map_or("at a time that is not known".to_owned(), |t| format!("by {t}"));
                return Err(Unsupported::Condition(format!(
                    "{title} began {since}, and nothing shows a change within {within} before the alert's onset at {onset}"
                )));
            }
        }
    }
    let before = |t: Timestamp| {
        let ahead = onset.duration_since(t);
        if ahead.is_negative() { "as the alert began".to_owned() } else { format!("{} before the alert", short(ahead)) }
    };
    let limit = onset.checked_add(CLOCK_TOLERANCE).unwrap_or(onset);
    match (earliest, latest) {
        (Some(began), Some(latest)) if began == latest && began <= limit => {
            Ok(format!("{title} began {began}, {}", before(began)))
        }
        (_, Some(latest)) if latest <= limit => {
            Ok(format!("{title} was gone back to and complete by {latest}, {}", before(latest)))
        }
        (Some(began), _) if step.without_evidence => {
            Ok(format!("{title} began {began} or later, the alert {onset}; withoutEvidence waives the evidence"))
        }
        (None, _) if step.without_evidence => {
            Ok(format!("when {title} began is not known; withoutEvidence waives the evidence"))
        }
        (Some(began), _) if began > limit => Err(Unsupported::Evidence(format!(
            "{title} began {began}, {} after the alert's onset at {onset}: it cannot have caused it (withoutEvidence: true waives this)",
            short(began.duration_since(onset))
        ))),
        _ => Err(Unsupported::Evidence(format!(
            "nothing shows that {title} was there before the alert's onset at {onset} (withoutEvidence: true waives this)"
        ))),
    }
}

/// What is known of the revision that is gone back to.
pub fn past(history: &History, to: &Revision, now: Timestamp) -> String {
    let title = to.title();
    let serving =
        if to.available > 0 { format!(", and {} of its pods are available", to.available) } else { String::new() };
    match (history.began(to), history.ended(to)) {
        (Since::At(began), Some(ended)) => format!(
            "{title} was the template for {} (from {began} to {ended}){serving}",
            short(ended.duration_since(began))
        ),
        (Since::At(began), None) => {
            format!("{title} began {began}, {} ago{serving}", short(now.duration_since(began)))
        }
        (Since::After(_), _) => {
            let earlier: Vec<_> = to.earlier.iter().map(i64::to_string).collect();
            let earlier = match earlier.is_empty() {
                true => String::new(),
                false => format!(" (earlier revision {})", earlier.join(", ")),
            };
            format!("{title} was gone back to before{earlier}{serving}")
        }
    }
}
