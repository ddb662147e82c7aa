pub mod clock;
pub mod containers;
pub mod ecs;
pub mod images;
pub mod load_balancer;
