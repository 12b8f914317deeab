//! NotificationChannel: what Alertmanager sends for it, and whether it can.

pub mod receivers;
