//! The apps of `examples/`, built from their Dockerfiles and run by their task definitions, with a real PostgreSQL whose passwords are
//! rotated while they are asked.
//!
//! Promises: what the pages of the examples say can be seen is looked at: lines, one trace through two services with the log group in
//! it, metrics whose sums are exact, passwords that change without a failed request or a restart, and books that balance.
//! It does not prove how services find each other in a VPC: here a relay stands where Service Connect would.
//! Never: changes an app or its definition for the test, but for addresses, and names that other runs have.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::{
    agent::free_address,
    ecs_local::{Setup, Task},
    relay,
};

use crate::{
    postgres::{self, Postgres},
    world::{self, PATIENCE, World},
};

const REGION: &str = "eu-west-1";
/// The longest pause between two orders.
const PAUSE: Duration = Duration::from_millis(20);

fn folder(example: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(example)
}

/// A name of this run alone: several runs may ask one stand-in.
fn unlike(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

/// Starts an example by its definition, in which these texts stand for others.
fn start(world: &World, example: &str, replaced: &[(&str, &str)]) -> Result<Task> {
    let mut text = fs::read_to_string(folder(example).join("task.json")).with_context(|| example.to_owned())?;
    for (from, to) in replaced {
        ensure!(text.contains(from), "{from} is not in the definition of {example}");
        text = text.replace(from, to);
    }
    let value: Value = serde_json::from_str(&text)?;
    let (image, family) = (value["containerDefinitions"][0]["image"].as_str(), value["family"].as_str());
    let group = json!({"logGroupName": format!("/ecs/{}", family.context("no family")?)});
    // Another run may have made it.
    drop(world.ask("logs", "Logs_20140328.CreateLogGroup", &group));
    let mut setup = world.setup();
    let built = format!("pillion-example-{example}:{}", world::part("PILLION_EXAMPLES"));
    setup.images.insert(0, (image.context("no image")?.to_owned(), built));
    setup.environment.push(("PILLION__SECRETS__API__LISTEN".to_owned(), "127.0.0.1:2773".to_owned()));
    let Setup { environment, .. } = &mut setup;
    if !text.contains("PILLION__SECRETS__ITEMS") {
        environment.clear();
    }
    Task::start(&world.with_real_secrets(text)?, None, setup)
}

/// Lines of a service, as the JSON that each is.
fn lines(world: &World, task: &Task, service: &str) -> Result<Vec<Value>> {
    let lines = world.lines(task, service)?;
    // Gunicorn and Node's warnings write lines of their own.
    Ok(lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Those with this message.
fn with_message<'a>(lines: &'a [Value], message: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["message"] == message).collect()
}

/// What CloudWatch has of a metric, all in all.
fn sum(world: &World, namespace: &str, metric: &str) -> Result<f64> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/read_metrics_back.py");
    let mut command = Command::new(world::part("PILLION_PYTHON"));
    command.arg(script).args(["--endpoint", &world.moto, "--region", REGION, "--namespace", namespace]);
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let read: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let sums: Vec<f64> = read.iter().filter(|it| it["name"] == metric).filter_map(|it| it["sum"].as_f64()).collect();
    ensure!(!sums.is_empty(), "no {metric} in {namespace}: {read:?}");
    Ok(sums.iter().sum())
}

/// An address of this machine that containers reach, whatever network they are in.
fn host_of_containers(world: &World) -> Result<String> {
    let bridge = world.engine.ask("GET", "/networks/bridge", None)?;
    let gateway = bridge["IPAM"]["Config"][0]["Gateway"].as_str().context("the bridge has no gateway")?;
    Ok(gateway.to_owned())
}

/// The database, and who rotates its passwords as AWS's function does: `tests/python/rotate.py`.
struct Database {
    postgres: Postgres,
    at: SocketAddr,
    rotator: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Database {
    fn start(world: &World) -> Result<Self> {
        let own = free_address()?;
        let postgres = Postgres::start(Some(own.port()));
        let at = relay::start(own, &host_of_containers(world)?, || {})?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/rotate.py");
        let mut command = Command::new(world::part("PILLION_PYTHON"));
        command.arg(script).args(["--endpoint", &world.moto, "--region", REGION, "--admin", &postgres.admin()]);
        let mut rotator = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (rotator.stdin.take().context("no input")?, rotator.stdout.take().context("no output")?);
        Ok(Self { postgres, at, rotator, input, output: BufReader::new(output) })
    }

    /// What the owner of the database does once.
    fn prepare(&self) -> Result<()> {
        let schema = fs::read_to_string(folder("orders-python").join("schema.sql"))?;
        self.sql(&schema).map(drop)
    }

    fn sql(&self, text: &str) -> Result<String> {
        let output = postgres::program("psql").args(["-XAtq", "-c", text]).arg(self.postgres.admin()).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    fn create(&mut self, secret: &str, user: &str) -> Result<()> {
        let (host, port) = (self.at.ip().to_string(), self.at.port());
        let call =
            json!({"do": "create", "secret": secret, "user": user, "host": host, "port": port, "dbname": "postgres"});
        self.say(&call)
    }

    /// The user alternates: the password of the version before goes on until the next rotation.
    fn rotate(&mut self, secret: &str) -> Result<()> {
        self.say(&json!({"do": "rotate", "secret": secret, "strategy": "alternating", "every": 0}))
    }

    fn say(&mut self, call: &Value) -> Result<()> {
        writeln!(self.input, "{call}")?;
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        let answer: Value = serde_json::from_str(&answer).context("the rotator has ended")?;
        ensure!(answer["ok"] == true, "{call}: {answer}");
        Ok(())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Fails only if it is gone already.
        drop(self.rotator.kill());
        drop(self.rotator.wait());
    }
}

/// Somebody who orders one thing after another, and never twice the same.
struct Customer {
    answers: Arc<Mutex<Vec<Result<Value, String>>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Customer {
    fn start(at: IpAddr) -> Self {
        let (answers, stop) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let (told, stopped) = (Arc::clone(&answers), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            for number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let answer = world::post(at, 8080, &format!("/orders/{number}")).map_err(|error| format!("{error:#}"));
                told.lock().unwrap_or_else(PoisonError::into_inner).push(answer.and_then(|answer| taken(&answer)));
                thread::park_timeout(PAUSE);
            }
        });
        Self { answers, stop, thread }
    }

    fn answers(&self) -> Vec<Result<Value, String>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until an order was written by another user of the database than `before`.
    fn other_user(&self, before: &str, told: impl Fn() -> String) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(Ok(answer)) = self.answers().last() {
                let user = answer["user"].as_str().context("no user")?;
                if user != before {
                    return Ok(user.to_owned());
                }
            }
            ensure!(Instant::now() < deadline, "{before} still: {:?}\n{}", self.answers().last(), told());
            thread::park_timeout(PAUSE);
        }
    }

    /// Stops, and gives what was answered; each answer was the right one.
    fn end(self) -> Result<Vec<Value>> {
        self.stop.store(true, Ordering::Relaxed);
        let answers = self.answers.clone();
        ensure!(self.thread.join().is_ok(), "the customer fell");
        let answers = answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let failed: Vec<_> = answers.iter().filter_map(|it| it.as_ref().err()).collect();
        ensure!(failed.is_empty(), "{} of {} requests failed: {failed:?}", failed.len(), answers.len());
        Ok(answers.into_iter().filter_map(Result::ok).collect())
    }
}

/// The body of an answer that says that the order was taken.
fn taken(answer: &str) -> Result<Value, String> {
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body);
    let value = body.filter(|_| answer.starts_with("HTTP/1.") && answer.contains(" 200 ")).map(serde_json::from_str);
    value.and_then(Result::ok).ok_or_else(|| answer.to_owned())
}

/// Python calls Node; both ask the database with passwords that are rotated twice.
#[test]
fn orders_and_prices_show_all_four_jobs_while_passwords_are_rotated() -> Result<()> {
    let world = World::new()?;
    let mut database = Database::start(&world)?;
    let (orders_secret, prices_secret) = (unlike("shop/orders-db"), unlike("shop/prices-db"));
    database.create(&orders_secret, "shop_orders")?;
    database.create(&prices_secret, "shop_prices")?;
    database.prepare()?;
    let namespace = unlike("Shop");
    let published = format!("\"{namespace}\"");
    let prices_changes = [("shop/prices-db", &*prices_secret), ("\"Shop\"", &*published)];
    let mut prices = start(&world, "prices-node", &prices_changes)?;
    prices.until("prices is well", Task::is_well)?;
    let inside = SocketAddr::from((prices.address("prices")?, 8081));
    let prices_at = relay::start(inside, &host_of_containers(&world)?, || {})?.to_string();
    let orders_changes = [("shop/orders-db", &*orders_secret), ("prices.shop.internal:8081", &*prices_at)];
    let mut orders = start(&world, "orders-python", &orders_changes)?;
    orders.until("orders is well", Task::is_well)?;

    let customer = Customer::start(orders.address("orders")?);
    let mut user = customer.other_user("nobody", || orders.told())?;
    ensure!(user == "shop_orders", "{user}");
    for expected in ["shop_orders_clone", "shop_orders"] {
        database.rotate(&orders_secret)?;
        database.rotate(&prices_secret)?;
        world::refresh(&orders, "orders")?;
        world::refresh(&prices, "prices")?;
        user = customer.other_user(&user, || orders.told())?;
        ensure!(user == expected, "{user}");
        world.until("prices was told", &prices, "prices", |lines| {
            let told = lines.iter().filter(|line| line.contains("password rotated")).count();
            told >= if expected == "shop_orders" { 2 } else { 1 }
        })?;
    }
    let answers = customer.end()?;
    orders.look()?;
    prices.look()?;
    for (task, service) in [(&orders, "orders"), (&prices, "prices")] {
        ensure!(task.is_well() && task.restarts(service) + task.restarts("pillion") == 0, "{}", task.told());
    }
    ensure!(database.postgres.refused() == 0, "{} logins were refused", database.postgres.refused());
    world.stops(&mut orders)?;
    world.stops(&mut prices)?;

    let cents: u64 = answers.iter().filter_map(|answer| answer["cents"].as_u64()).sum();
    ensure!(database.sql("SELECT count(*), sum(cents) FROM orders")? == format!("{}|{cents}", answers.len()));
    let written = [lines(&world, &orders, "orders")?, lines(&world, &prices, "prices")?];
    let [taken, asked] = [with_message(&written[0], "order taken"), with_message(&written[1], "price asked")];
    ensure!(taken.len() == answers.len() && asked.len() == answers.len(), "{} of {}", taken.len(), answers.len());
    for (number, (taken, asked)) in taken.iter().zip(&asked).enumerate() {
        ensure!(taken["order"] == number && asked["number"] == number, "{taken} {asked}");
        ensure!(taken["trace"] == asked["trace"], "two traces: {taken} {asked}");
    }
    one_trace_of_both(&world, taken.last().and_then(|line| line["trace"].as_str()).context("no trace")?)?;

    // Documents in the log, of which CloudWatch makes the metric; and the metric that pillion puts itself.
    let stream = format!("metrics/{}", orders.identity().task);
    let page = json!({"logGroupName": "/ecs/orders", "logStreamName": stream, "startFromHead": true, "limit": 10_000});
    let documents: Vec<Value> =
        world.messages(&page)?.iter().map(|text| serde_json::from_str(text)).collect::<Result<_, _>>()?;
    ensure!(documents.iter().all(|it| it["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Shop"), "{documents:?}");
    let values: u64 = documents.iter().filter_map(|it| it["OrderValue"].as_f64()).map(|value| value as u64).sum();
    ensure!(documents.len() == answers.len() && values == cents, "{} documents, {values} of {cents}", documents.len());
    let asked = sum(&world, &namespace, "prices.asked")?;
    ensure!(asked == answers.len() as f64, "{asked} of {}", answers.len());
    world.balances(&orders, 2 * answers.len())?;
    world.balances(&prices, answers.len())
}

/// Both services are in the trace, one below the other, and X-Ray knows where the log of the first is.
fn one_trace_of_both(world: &World, trace: &str) -> Result<()> {
    let segments = world.segments(trace)?;
    let named = |name: &str| {
        let found = segments.iter().find(|it| it["name"] == name);
        found.with_context(|| format!("no segment of {name}: {segments:#?}"))
    };
    let (orders, prices) = (named("orders")?, named("prices")?);
    ensure!(orders["aws"]["cloudwatch_logs"][0]["log_group"] == "/ecs/orders", "{orders:#}");
    // The call between them is a document of its own.
    let call = segments.iter().find(|it| it["id"] == prices["parent_id"]);
    let call = call.with_context(|| format!("nobody called {prices}: {segments:#?}"))?;
    ensure!(call["parent_id"] == orders["id"], "{call:#} is not a call of {orders:#}");
    Ok(())
}

#[test]
fn stock_goes_on_with_its_caller_s_trace_and_counts_exactly() -> Result<()> {
    const ASKED: usize = 30;
    let world = World::new()?;
    let namespace = unlike("Stock");
    let mut task = start(&world, "stock-rust", &[("\"Shop\"", &format!("\"{namespace}\""))])?;
    task.until("stock is well", Task::is_well)?;
    let seconds = now_in_seconds()?;
    let trace_of = |number: usize| format!("{seconds:08x}{number:024x}");
    for number in 1..=ASKED {
        let header = format!("traceparent: 00-{}-{number:016x}-01", trace_of(number));
        let answer = world::call_service(task.address("stock")?, 8082, "GET", &format!("/stock/{number}"), &header)?;
        ensure!(answer.ends_with(&json!({"number": number, "stock": number % 5}).to_string()), "{answer}");
    }
    world.stops(&mut task)?;
    let written = lines(&world, &task, "stock")?;
    let asked = with_message(&written, "stock asked");
    ensure!(asked.len() == ASKED, "{} of {ASKED}", asked.len());
    for (number, line) in (1..).zip(&asked) {
        ensure!(line["number"] == number && line["trace"] == trace_of(number), "{line}");
        let id = trace_of(number);
        let segments = world.segments(&format!("1-{}-{}", &id[..8], &id[8..]))?;
        ensure!(segments.len() == 1 && segments[0]["name"] == "stock", "{segments:#?}");
        ensure!(segments[0]["parent_id"] == format!("{number:016x}"), "{segments:#?}");
        ensure!(segments[0]["aws"]["cloudwatch_logs"][0]["log_group"] == "/ecs/stock", "{segments:#?}");
    }
    let counted = sum(&world, &namespace, "StockAsked")?;
    ensure!(counted == ASKED as f64, "{counted} of {ASKED}");
    world.balances(&task, ASKED)
}

/// Now, as X-Ray wants it at the beginning of a trace's id.
fn now_in_seconds() -> Result<u64> {
    Ok(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs())
}
