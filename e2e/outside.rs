//! Everything outside that a run reaches, played on this host, and the channels that lead there.

use std::net::{IpAddr, SocketAddr};

use crate::fakes::Fake;
use crate::fakes::github::Github;
use crate::fakes::pagerduty::Pagerduty;
use crate::fakes::slack::Slack;
use crate::fakes::smtp::Smtp;
use crate::fakes::teams::Teams;
use crate::harness::*;

pub struct Outside {
    pub github: Fake<Github>,
    pub slack: Fake<Slack>,
    pub pagerduty: Fake<Pagerduty>,
    pub teams: Fake<Teams>,
    pub mail: Smtp,
    host: IpAddr,
}

impl Outside {
    /// Where the operator's pods reach it.
    pub async fn start(cluster: &Cluster) -> Self {
        let (_, pod) = cluster.replicas().await.remove(0);
        Self::listen(host_facing(&pod)).await
    }

    pub async fn listen(host: IpAddr) -> Self {
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        Self {
            github: Fake::start(any, Github::new("example/checkout", "github-token")).await,
            slack: Fake::start(any, Slack::new("xoxb-token", "#checkout")).await,
            pagerduty: Fake::start(any, Pagerduty::new("routing-key")).await,
            teams: Fake::start(any, Teams::default()).await,
            mail: Smtp::start(any).await,
            host,
        }
    }

    /// Where pods reach what listens here.
    fn reached(&self, address: SocketAddr) -> SocketAddr {
        SocketAddr::from((self.host, address.port()))
    }

    /// Channels `team-teams` and `mail` of a namespace, with their Secret.
    pub fn more_channels(&self, namespace: &str) -> String {
        let (teams, mail) = (self.reached(self.teams.address), self.reached(self.mail.address));
        format!(
            "
apiVersion: v1
kind: Secret
metadata: {{name: teams, namespace: {namespace}}}
stringData: {{url: 'http://{teams}/workflows/1'}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: NotificationChannel
metadata: {{name: team-teams, namespace: {namespace}}}
spec: {{teams: {{webhookUrlSecretRef: {{name: teams, key: url}}}}}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: NotificationChannel
metadata: {{name: mail, namespace: {namespace}}}
spec: {{email: {{to: managers@example.com, from: evenkeel@example.com, smarthost: '{mail}', requireTls: false}}}}
"
        )
    }

    /// Channels `team-slack`, `oncall` and `repo` of a namespace, with their Secrets.
    pub fn channels(&self, namespace: &str) -> String {
        let at = |address: SocketAddr| self.reached(address);
        self.channels_at(namespace, [self.slack.address, self.pagerduty.address, self.github.address].map(at))
    }

    /// The same, reached at other addresses: Slack, PagerDuty, GitHub.
    pub fn channels_at(&self, namespace: &str, [slack, pagerduty, github]: [SocketAddr; 3]) -> String {
        let secret = |name: &str, key: &str, value: &str| {
            format!(
                "
apiVersion: v1
kind: Secret
metadata: {{name: {name}, namespace: {namespace}}}
stringData: {{{key}: {value}}}
---"
            )
        };
        let channel = |name: &str, spec: String| {
            format!(
                "
apiVersion: evenkeel.dev/v1alpha1
kind: NotificationChannel
metadata: {{name: {name}, namespace: {namespace}}}
spec: {spec}
---"
            )
        };
        [
            secret("slack", "token", "xoxb-token"),
            secret("pagerduty", "routing-key", "routing-key"),
            secret("github", "token", "github-token"),
            channel(
                "team-slack",
                format!(
                    "{{slack: {{tokenSecretRef: {{name: slack, key: token}}, channel: '#checkout', url: 'http://{slack}/api'}}}}"
                ),
            ),
            channel(
                "oncall",
                format!(
                    "{{pagerduty: {{routingKeySecretRef: {{name: pagerduty, key: routing-key}}, url: 'http://{pagerduty}/v2/enqueue'}}}}"
                ),
            ),
            channel(
                "repo",
                format!(
                    "{{github: {{repository: example/checkout, tokenSecretRef: {{name: github, key: token}}, url: 'http://{github}'}}}}"
                ),
            ),
        ]
        .concat()
        .trim_end_matches("---")
        .to_owned()
    }

    /// What requests got wrong of the published APIs: nothing.
    pub fn assert_well_formed(&self) {
        let chats = [self.slack.violations(), self.teams.violations()].concat();
        let all = [self.github.violations(), self.pagerduty.violations(), chats].concat();
        assert!(all.is_empty(), "{all:#?}");
    }
}
