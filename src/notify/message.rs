//! What people are told. Pure.

/// What people are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// One line.
    pub title: String,
    /// All of it; its first line is the title, its last one may be a command that shows more.
    pub text: String,
    /// By which PagerDuty, and a webhook that wants to, recognises a repeat.
    pub dedup_key: String,
    /// What it is about, for example `shop/Deployment/checkout`.
    pub source: String,
    /// critical, error, warning or info.
    pub severity: String,
    /// Where in its story it stands.
    pub stage: Stage,
    /// Of the message that this one changes or follows, as its receiver gave it.
    pub reference: Option<String>,
}

/// Where in its story a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Something is wrong, or was done about it.
    News,
    /// The operator would do something about it, and waits for a person's word.
    Asking,
    /// The operator has done something about it, and nothing of it failed so far.
    AtWork,
    /// What the operator does about it has come to an end, good or bad. An incident stays open.
    Closed,
    /// It is over: an incident of this key is closed.
    Resolved,
}

impl Stage {
    /// As people read it; empty where nothing is to be said of it.
    pub fn words(self) -> &'static str {
        match self {
            Self::News => "",
            Self::Asking => "waits for approval",
            Self::AtWork => "being repaired",
            Self::Closed => "closed",
            Self::Resolved => "resolved",
        }
    }

    /// In one word, for programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::News => "news",
            Self::Asking => "asking",
            Self::AtWork => "atWork",
            Self::Closed => "closed",
            Self::Resolved => "resolved",
        }
    }

    /// Whether it tells an end, which `sendResolved: false` of a channel keeps from it.
    pub fn is_end(self) -> bool {
        match self {
            Self::News | Self::Asking | Self::AtWork => false,
            Self::Closed | Self::Resolved => true,
        }
    }
}

/// The parts of a message, for services that show cards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// Names and values.
    pub facts: Vec<(&'static str, &'a str)>,
    /// What is neither title nor command.
    pub body: String,
    /// A command that shows more.
    pub command: Option<&'a str>,
}

impl Message {
    /// Title aside.
    pub fn parts(&self) -> Parts<'_> {
        let mut lines: Vec<&str> = self.text.lines().collect();
        if lines.first() == Some(&self.title.as_str()) {
            lines.remove(0);
        }
        let command = lines.pop_if(|line| line.starts_with("kubectl "));
        let facts = [("Target", self.source.as_str()), ("Severity", &self.severity), ("State", self.stage.words())];
        let facts = facts.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        Parts { facts, body: lines.join("\n"), command }
    }
}

/// The first characters of a text, with an ellipsis where it is cut. `most` is at least 1.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// A message as it stands in tests.
#[cfg(test)]
pub fn example(stage: Stage) -> Message {
    Message {
        title: "HighErrorRate: checkout fails".into(),
        text: "HighErrorRate: checkout fails\nDeployment/checkout in namespace shop\nrolled back\nkubectl describe run -n shop r"
            .into(),
        dedup_key: "uid-1".into(),
        source: "shop/Deployment/checkout".into(),
        severity: "critical".into(),
        stage,
        reference: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_falls_into_title_facts_body_and_command() {
        let message = example(Stage::AtWork);
        let parts = message.parts();
        assert_eq!(parts.command, Some("kubectl describe run -n shop r"));
        assert_eq!(parts.body, "Deployment/checkout in namespace shop\nrolled back");
        assert!(parts.facts.contains(&("State", "being repaired")), "{parts:?}");
    }

    #[test]
    fn a_text_is_cut_by_characters() {
        assert_eq!((cut("äöü", 3).as_str(), cut("äöüx", 3).as_str()), ("äöü", "äö…"));
    }
}
