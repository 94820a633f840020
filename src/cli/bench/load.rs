//! Clients: each a thread that sends, waits for the answer, and sends again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Everything that is sent.
pub(super) struct Plan {
    pub(super) url: String,
    pub(super) clients: Vec<Client>,
    /// Requests a second that all clients together send, whatever comes back; as fast as answers come without it.
    pub(super) rate: Option<f64>,
}

impl Plan {
    /// When each client sends, from its number and the beginning: the first time, and the time between two.
    fn pace(&self, number: usize) -> Option<(Duration, Duration)> {
        let between = Duration::from_secs_f64(self.clients.len() as f64 / self.rate?);
        Some((between.mul_f64(number as f64 / self.clients.len() as f64), between))
    }
}

/// What one client sends.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) requests: Arc<Requests>,
    pub(super) is_counted: bool,
}

/// What is chosen from, shared by those who choose alike.
pub(super) struct Requests {
    all: Vec<Request>,
    /// Cumulated shares, the first the most often.
    shares: Vec<f64>,
}

/// One request.
pub(super) struct Request {
    pub(super) key: Option<String>,
    pub(super) path: String,
    pub(super) body: Arc<str>,
}

impl Requests {
    /// Chosen by Zipf's law with this exponent; 0 chooses all alike.
    pub(super) fn new(all: Vec<Request>, zipf: f64) -> Self {
        let shares = shares(all.len(), zipf);
        Self { all, shares }
    }

    /// The one at `drawn`, a number from 0 to 1.
    fn at(&self, drawn: f64) -> &Request {
        let chosen = self.shares.partition_point(|&share| share < drawn);
        &self.all[chosen.min(self.all.len() - 1)]
    }
}

/// One request that was answered in the time that is measured.
pub(super) struct Outcome {
    pub(super) took: Duration,
    /// 0 if there was no answer.
    pub(super) status: u16,
}

/// Runs all clients at once; outcomes of those that count.
pub(super) fn run(plan: &Plan, warm_up: Duration, measured: Duration) -> Vec<Outcome> {
    let begun = Instant::now();
    let from = begun + warm_up;
    let until = from + measured;
    std::thread::scope(|scope| {
        let running: Vec<_> = plan
            .clients
            .iter()
            .enumerate()
            .map(|(number, client)| scope.spawn(move || send(plan, number, client, [begun, from, until])))
            .collect();
        let counted = plan.clients.iter().map(|client| client.is_counted);
        let ended = running.into_iter().map(|thread| thread.join().unwrap_or_default());
        ended.zip(counted).filter(|(_, is_counted)| *is_counted).flat_map(|(outcomes, _)| outcomes).collect()
    })
}

fn send(plan: &Plan, number: usize, client: &Client, [begun, from, until]: [Instant; 3]) -> Vec<Outcome> {
    let config = ureq::Agent::config_builder().proxy(None).http_status_as_error(false);
    let agent = config.timeout_global(Some(Duration::from_mins(1))).build().new_agent();
    let rng = &mut ChaCha8Rng::seed_from_u64(number as u64);
    let pace = plan.pace(number);
    let mut due = begun + pace.map_or(Duration::ZERO, |(first, _)| first);
    let mut outcomes = Vec::new();
    loop {
        if let Some((_, between)) = pace {
            std::thread::sleep(due.min(until).saturating_duration_since(Instant::now()));
            due = (due + between).max(Instant::now()); // what could not be sent in its time is not sent later
        }
        let started = Instant::now();
        if started >= until {
            return outcomes;
        }
        let Request { key, path, body } = client.requests.at(rng.random_range(0.0..1.0));
        let mut request = agent.post(format!("{}{path}", plan.url)).header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let status = match request.send(body.as_bytes()) {
            // An answer is there when its last byte is.
            Ok(mut response) => response.body_mut().read_to_vec().map_or(0, |_| response.status().as_u16()),
            Err(_) => 0,
        };
        let ended = Instant::now();
        if started >= from && ended <= until {
            outcomes.push(Outcome { took: ended - started, status });
        }
        if status != 200 && pace.is_none() {
            std::thread::sleep(Duration::from_millis(5)); // an error is not a way to be faster
        }
    }
}

/// Cumulated shares of `count` things by Zipf's law.
fn shares(count: usize, exponent: f64) -> Vec<f64> {
    let weights: Vec<f64> = (1..=count).map(|rank| (rank as f64).powf(-exponent)).collect();
    let sum: f64 = weights.iter().sum();
    let mut total = 0.0;
    weights
        .iter()
        .map(|weight| {
            total += weight / sum;
            total
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_zipf_and_end_at_one() {
        let shares = shares(3, 1.0);

        assert!((shares[0] - 6.0 / 11.0).abs() < 1e-12 && (shares[1] - 9.0 / 11.0).abs() < 1e-12);
        assert!((shares[2] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn clients_send_by_turns_and_together_at_the_rate() {
        let requests = Arc::new(Requests::new(Vec::new(), 0.0));
        let clients = vec![Client { requests, is_counted: true }; 4];
        let plan = Plan { url: String::new(), clients, rate: Some(2.0) };

        assert_eq!(plan.pace(0), Some((Duration::ZERO, Duration::from_secs(2))));
        assert_eq!(plan.pace(3), Some((Duration::from_millis(1500), Duration::from_secs(2))));
        assert_eq!(Plan { rate: None, ..plan }.pace(3), None);
    }
}
