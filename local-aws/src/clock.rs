//! The pace at which AWS's delays pass.

use std::time::Duration;

/// Shortens the waiting times of the local ECS and its load balancer, so that a deregistration
/// delay of five minutes need not take five minutes. Time stamps stay those of the real clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    speed: f64,
}

impl Clock {
    /// `speed` 1 is AWS's own pace; 10 makes every delay a tenth as long. Anything that is not a
    /// positive number counts as 1.
    pub fn new(speed: f64) -> Self {
        let usable = speed.is_finite() && speed > 0.0;
        Self {
            speed: if usable { speed } else { 1.0 },
        }
    }

    /// How many times faster than AWS's the delays pass; always a positive number.
    pub fn speed(&self) -> f64 {
        self.speed
    }

    /// How long a delay of AWS lasts here.
    pub fn scaled(&self, aws: Duration) -> Duration {
        aws.div_f64(self.speed)
    }

    /// Waits for as long as the delay lasts here.
    pub async fn sleep(&self, aws: Duration) {
        tokio::time::sleep(self.scaled(aws)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_faster_clock_shortens_delays() {
        let minute = Duration::from_secs(60);
        assert_eq!(Clock::new(1.0).scaled(minute), minute);
        assert_eq!(Clock::new(10.0).scaled(minute), Duration::from_secs(6));
    }

    #[test]
    fn an_unusable_speed_is_the_normal_speed() {
        let minute = Duration::from_secs(60);
        for speed in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Clock::new(speed).scaled(minute), minute);
        }
    }
}
