//! Finds the rules that our parser takes and Prometheus refuses. Pure.
//!
//! Prometheus says that a reload failed, not which rule is to blame, and one bad rule keeps every later change from
//! becoming live. So: all suspects (rules that no Prometheus has loaded yet) are withheld, the rest is seen to load,
//! and the suspects come back in halves. A failed reload harms nobody, since Prometheus keeps what it has. Each test
//! begins when the rest is loaded and the last reload was good, so that its failure is due to nothing but the test.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

/// One version of one rule of an AlertRule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Suspect {
    /// `<namespace>/<name>` of the AlertRule.
    pub rule: Arc<str>,
    /// Digest of the rule's text.
    pub digest: Box<str>,
}

/// How long the rest may take to load after a failed test, before the failure is put down to something else.
const PATIENCE: SignedDuration = SignedDuration::from_secs(30);

#[derive(Clone, Debug, PartialEq)]
enum Stage {
    /// Nothing is tested: waiting until the rest is loaded.
    Rest {
        since: Timestamp,
        accused: Option<Suspect>,
    },
    Testing(Vec<Suspect>),
}

/// The search in one stack.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    held: BTreeSet<Suspect>,
    queue: VecDeque<Vec<Suspect>>,
    /// Changed since the search began. They are tested together and before the next of the queue, since they are
    /// probably good and their authors wait; never twice in a row, so that the search comes to its end.
    newcomers: Vec<Suspect>,
    newcomers_tested: bool,
    stage: Stage,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Wait,
    /// The rules that are withheld have changed for these AlertRules.
    Changed(BTreeSet<Arc<str>>),
    /// This rule is refused by Prometheus. Ask again after it was taken out.
    Guilty(Suspect),
    /// Every suspect is judged.
    Done,
}

impl Trial {
    /// Withholds all suspects.
    pub fn new(suspects: Vec<Suspect>, now: Timestamp) -> Self {
        let mut trial = Self {
            held: suspects.iter().cloned().collect(),
            queue: VecDeque::new(),
            newcomers: vec![],
            newcomers_tested: false,
            stage: Stage::Rest { since: now, accused: None },
        };
        // All of them together are known to fail.
        trial.push_halves(suspects);
        trial
    }

    /// Rules that changed meanwhile wait their turn: a test must not fail because of them.
    pub fn add(&mut self, suspects: Vec<Suspect>) {
        self.held.extend(suspects.iter().cloned());
        self.newcomers.extend(suspects);
    }

    /// Takes out of the test what was loaded during it: a part of the test may become live before another part fails.
    pub fn acquit(&mut self, is_loaded: impl Fn(&str) -> bool) {
        if let Stage::Testing(group) = &mut self.stage {
            group.retain(|suspect| !is_loaded(&suspect.rule));
        }
    }

    /// Forgets every version of an AlertRule's rules that is not among `present`.
    pub fn retain(&mut self, rule: &str, present: &BTreeSet<Box<str>>) {
        let keep = |suspect: &Suspect| *suspect.rule != *rule || present.contains(&suspect.digest);
        self.held.retain(keep);
        self.queue.iter_mut().for_each(|group| group.retain(keep));
        self.queue.retain(|group| !group.is_empty());
        self.newcomers.retain(keep);
        match &mut self.stage {
            Stage::Testing(group) => group.retain(keep),
            Stage::Rest { accused, .. } => *accused = accused.take().filter(keep),
        }
    }

    /// Whether this version of the rule must not be shipped now.
    pub fn holds(&self, rule: &Arc<str>, digest: &str) -> bool {
        self.held.contains(&Suspect { rule: rule.clone(), digest: digest.into() })
    }

    /// Whether some rule of this AlertRule is withheld.
    pub fn holds_any(&self, rule: &str) -> bool {
        self.held.iter().any(|suspect| *suspect.rule == *rule)
    }

    /// How many rules are not judged yet.
    pub fn undecided(&self) -> usize {
        self.held.len()
    }

    /// Whether what is shipped without any suspect does not load either, for longer than a reload takes.
    pub fn blocked(&self, now: Timestamp) -> bool {
        matches!(self.stage, Stage::Rest { since, .. } if now.duration_since(since) > PATIENCE)
    }

    /// `settled`: everything that is written was loaded by every ready Prometheus. `failing`: the last reload of one
    /// of them failed.
    pub fn step(&mut self, settled: bool, failing: bool, now: Timestamp) -> Step {
        match &mut self.stage {
            Stage::Rest { since, accused } => {
                if failing || !settled {
                    // Perhaps the configuration broke during the test: the accused is tested once more.
                    if now.duration_since(*since) > PATIENCE
                        && let Some(suspect) = accused.take()
                    {
                        self.queue.push_back(vec![suspect]);
                    }
                    return Step::Wait;
                }
                match accused.take() {
                    Some(suspect) => {
                        self.held.remove(&suspect);
                        Step::Guilty(suspect)
                    }
                    None => self.test_next(),
                }
            }
            Stage::Testing(group) if failing => {
                let group = std::mem::take(group);
                let changed = group.iter().map(|suspect| suspect.rule.clone()).collect();
                self.held.extend(group.iter().cloned());
                let accused = if let [only] = group.as_slice() { Some(only.clone()) } else { None };
                if accused.is_none() {
                    self.push_halves(group);
                }
                self.stage = Stage::Rest { since: now, accused };
                Step::Changed(changed)
            }
            Stage::Testing(_) if settled => self.test_next(),
            Stage::Testing(_) => Step::Wait,
        }
    }

    fn test_next(&mut self) -> Step {
        self.newcomers_tested = !self.newcomers.is_empty() && (self.queue.is_empty() || !self.newcomers_tested);
        let group = match self.newcomers_tested {
            true => std::mem::take(&mut self.newcomers),
            false => match self.queue.pop_front() {
                Some(group) => group,
                None => return Step::Done,
            },
        };
        for suspect in &group {
            self.held.remove(suspect);
        }
        let changed = group.iter().map(|suspect| suspect.rule.clone()).collect();
        self.stage = Stage::Testing(group);
        Step::Changed(changed)
    }

    fn push_halves(&mut self, mut group: Vec<Suspect>) {
        let second = group.split_off(group.len().div_ceil(2));
        for half in [second, group].into_iter().filter(|half| !half.is_empty()) {
            self.queue.push_front(half);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspects(count: usize) -> Vec<Suspect> {
        let suspect = |i| Suspect { rule: format!("shop/{}", i / 5).into(), digest: format!("{i:04}").into() };
        (0..count).map(suspect).collect()
    }

    /// A Prometheus that refuses some rules. Returns who was found guilty, and after how many reloads.
    fn judge(trial: &mut Trial, all: &[Suspect], refused: &[usize]) -> (Vec<usize>, usize) {
        let (mut guilty, mut reloads) = (vec![], 0);
        let now = Timestamp::UNIX_EPOCH;
        for _ in 0..10_000 {
            let shipped = |i: &usize| !trial.holds(&all[*i].rule, &all[*i].digest) && !guilty.contains(i);
            let fails = refused.iter().any(shipped);
            match trial.step(!fails, fails, now) {
                Step::Wait => panic!("waits in {trial:?}"),
                Step::Changed(_) => reloads += 1,
                Step::Guilty(suspect) => guilty.push(all.iter().position(|s| *s == suspect).unwrap()),
                Step::Done => return (guilty, reloads),
            }
        }
        panic!("no end")
    }

    #[test]
    fn exactly_the_refused_rules_are_found_guilty() {
        for (count, refused) in
            [(1, vec![0]), (5, vec![3]), (5, vec![0, 4]), (64, vec![63]), (64, vec![]), (10, (0..10).collect())]
        {
            let all = suspects(count);
            let (mut guilty, reloads) = judge(&mut Trial::new(all.clone(), Timestamp::UNIX_EPOCH), &all, &refused);
            guilty.sort();
            assert_eq!(guilty, refused);
            assert!(reloads <= 4 + 3 * refused.len() * (count.ilog2() as usize + 1), "{count}: {reloads} reloads");
        }
    }

    #[test]
    fn nobody_is_judged_while_the_rest_does_not_load() {
        let all = suspects(1);
        let mut trial = Trial::new(all.clone(), Timestamp::UNIX_EPOCH);
        let later = Timestamp::from_second(100).unwrap();
        assert_eq!(trial.step(false, true, later), Step::Wait);
        // The file is loaded, but the last reload is still a failed one.
        assert_eq!(trial.step(true, true, later), Step::Wait);
        assert!(trial.blocked(later) && trial.holds_any("shop/0"));
        assert_eq!(judge(&mut trial, &all, &[]).0, Vec::<usize>::new());
    }

    #[test]
    fn a_failure_that_outlasts_the_accused_leads_to_a_second_test() {
        let all = suspects(1);
        let mut trial = Trial::new(all.clone(), Timestamp::UNIX_EPOCH);
        assert!(matches!(trial.step(true, false, Timestamp::UNIX_EPOCH), Step::Changed(_)));
        assert!(matches!(trial.step(false, true, Timestamp::UNIX_EPOCH), Step::Changed(_)));
        assert_eq!(trial.step(false, true, Timestamp::from_second(100).unwrap()), Step::Wait);
        assert_eq!(judge(&mut trial, &all, &[]).0, Vec::<usize>::new());
    }

    #[test]
    fn many_rules_that_change_during_a_search_cost_one_reload_together() {
        let all = suspects(60);
        let mut trial = Trial::new(all[..2].to_vec(), Timestamp::UNIX_EPOCH);
        for rule in all[2..].chunks(1) {
            trial.add(rule.to_vec());
        }
        let Step::Changed(first) = trial.step(true, false, Timestamp::UNIX_EPOCH) else { panic!("{trial:?}") };
        assert!(first.contains("shop/1") && first.contains("shop/11"), "{first:?}");
        let (guilty, reloads) = judge(&mut trial, &all, &[1]);
        assert_eq!((guilty, reloads), (vec![1], 3));
    }

    #[test]
    fn a_rule_that_changes_during_a_test_waits_its_turn() {
        let all = suspects(10);
        let mut trial = Trial::new(all[..5].to_vec(), Timestamp::UNIX_EPOCH);
        assert!(matches!(trial.step(true, false, Timestamp::UNIX_EPOCH), Step::Changed(_)));
        trial.add(all[5..].to_vec());
        assert!(trial.holds_any("shop/1"));
        assert_eq!(judge(&mut trial, &all, &[7]).0, [7]);
        // An edit takes a version away that was not judged yet.
        let mut trial = Trial::new(all.clone(), Timestamp::UNIX_EPOCH);
        trial.retain("shop/0", &BTreeSet::new());
        assert!(!trial.holds_any("shop/0"));
        assert_eq!(judge(&mut trial, &all, &[9]).0, [9]);
    }
}
