//! The channels between the rule loader and the keeper of SLOs.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use super::feed::{Feed, Load, Name, Views};

/// The loader's ends.
pub struct Ends {
    pub slos: UnboundedReceiver<Feed>,
    pub loads: UnboundedSender<(Name, Load)>,
    pub views: watch::Sender<Views>,
}

/// The keeper's ends.
pub struct KeeperEnds {
    pub slos: UnboundedSender<Feed>,
    pub loads: UnboundedReceiver<(Name, Load)>,
    pub views: watch::Receiver<Views>,
}

/// Both ends. Nothing is bounded: there is at most one message for each change of an object.
pub fn ends() -> (Ends, KeeperEnds) {
    let (feed, slos) = unbounded_channel();
    let (told, loads) = unbounded_channel();
    let (sees, views) = watch::channel(None);
    (Ends { slos, loads: told, views: sees }, KeeperEnds { slos: feed, loads, views })
}
