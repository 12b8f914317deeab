//! End-to-end tests: the shipped chart on a real cluster, real controllers, real Prometheus and Alertmanager.
//! `make e2e` starts the cluster, builds the image, installs the chart and runs this with KUBECONFIG set.
//!
//! Tests run side by side in namespaces of their own on one shared stack. A test that takes parts of the cluster
//! away holds `cluster.alone()`, the others `cluster.together()`. They begin in the order of their names: what waits
//! longest, `budgets`, comes first.

mod fakes;
mod gate;
mod gauges;
mod harness;
mod lab;
mod manifests;
mod object_store;
mod outside;

mod actions;
mod approval;
mod budgets;
mod crash;
mod crds;
mod escalation;
mod exporters;
mod freeze;
mod lab_upkeep;
mod logs;
mod panes;
mod policy;
mod quiet;
mod ready_made;
mod receiver;
mod response;
mod rollback;
mod rollouts;
mod rules;
mod stack;
mod steady;
mod workflow;
