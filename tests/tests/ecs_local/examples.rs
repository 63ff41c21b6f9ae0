//! The apps of `examples/`, built from their Dockerfiles and run by their task definitions, with a real PostgreSQL whose passwords are
//! rotated while they are asked.
//!
//! Promises: what the pages of the examples say can be seen is looked at: lines, traces through two services with the log group in
//! them, metrics whose sums are exact, passwords that change without a failed request or a restart, and books that balance.
//! It does not prove how services find each other in a VPC: here a relay stands where Service Connect would.
//! Never: changes an app or its definition for the test, but for addresses, names that other runs have, and TLS, which the database
//! here does not speak.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::{ecs_local::Task, relay};

use crate::{
    shop::{Customer, Database, host_of_containers, lines, metrics, start, sum, unlike, with_message},
    world::{self, World},
};

/// Python calls Node; both ask the database with passwords that are rotated twice.
#[test]
fn orders_and_prices_show_all_four_jobs_while_passwords_are_rotated() -> Result<()> {
    let world = World::new()?;
    let mut database = Database::start(&world)?;
    let (orders_secret, prices_secret) = (unlike("shop/orders-db"), unlike("shop/prices-db"));
    database.create(&orders_secret, "shop_orders")?;
    database.create(&prices_secret, "shop_prices")?;
    database.prepare("orders-python")?;
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

    let customer = Customer::start((orders.address("orders")?, 8080), "/orders");
    let mut user = customer.other_user("nobody", || orders.told())?;
    ensure!(user == "shop_orders", "{user}");
    for expected in ["shop_orders_clone", "shop_orders"] {
        database.rotate(&orders_secret)?;
        database.rotate(&prices_secret)?;
        world::refresh(&orders)?;
        world::refresh(&prices)?;
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
    let trace = taken.last().and_then(|line| line["trace"].as_str()).context("no trace")?;
    one_trace_of_both(&world, trace, ["orders", "prices"])?;

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

/// Both services are in the trace, the second below the first, which called it, and X-Ray knows where the log of the first is. Gives
/// the segment of the second.
fn one_trace_of_both(world: &World, trace: &str, [caller, called]: [&str; 2]) -> Result<Value> {
    let segments = world.segments(trace)?;
    let named = |name: &str| {
        let found = segments.iter().find(|it| it["name"] == name);
        found.with_context(|| format!("no segment of {name}: {segments:#?}"))
    };
    let (above, below) = (named(caller)?, named(called)?);
    ensure!(above["aws"]["cloudwatch_logs"][0]["log_group"] == format!("/ecs/{caller}"), "{above:#}");
    // The call between them is a document of its own.
    let call = segments.iter().find(|it| it["id"] == below["parent_id"]);
    let call = call.with_context(|| format!("nobody called {below}: {segments:#?}"))?;
    ensure!(call["parent_id"] == above["id"], "{call:#} is not a call of {above:#}");
    Ok(below.clone())
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

/// Go calls Rust, and writes down what it did with a password that is rotated twice; what it counts is scraped.
#[test]
fn shipping_and_stock_show_all_four_jobs_while_a_password_is_rotated() -> Result<()> {
    /// In the last trace, unlike those of other stories.
    const LAST: u32 = 77_777;
    let world = World::new()?;
    let mut database = Database::start(&world)?;
    let secret = unlike("shop/shipping-db");
    database.create(&secret, "shop_shipping")?;
    database.prepare("shipping-go")?;
    let namespace = unlike("Shipping");
    let published = format!("\"{namespace}\"");
    let mut stock = start(&world, "stock-rust", &[("\"Shop\"", &published)])?;
    stock.until("stock is well", Task::is_well)?;
    let inside = SocketAddr::from((stock.address("stock")?, 8082));
    let stock_at = relay::start(inside, &host_of_containers(&world)?, || {})?.to_string();
    let mut shipping = start(
        &world,
        "shipping-go",
        &[
            ("shop/shipping-db", &secret),
            ("stock.shop.internal:8082", &stock_at),
            ("\"Shop\"", &published),
            // The database of this story has no certificate.
            ("\"require\"", "\"disable\""),
        ],
    )?;
    shipping.until("shipping is well", Task::is_well)?;

    let customer = Customer::start((shipping.address("shipping")?, 8083), "/shipments");
    let mut user = customer.other_user("nobody", || shipping.told())?;
    ensure!(user == "shop_shipping", "{user}");
    for expected in ["shop_shipping_clone", "shop_shipping"] {
        database.rotate(&secret)?;
        world::refresh(&shipping)?;
        user = customer.other_user(&user, || shipping.told())?;
        ensure!(user == expected, "{user}");
    }
    let answers = customer.end()?;
    let of_state = |state: &str| answers.iter().filter(|answer| answer["state"] == state).count();
    let (shipped, waiting) = (of_state("shipped"), of_state("waiting"));
    // The app is stopped before pillion, so that what it counts after the last scrape is not known.
    for (state, count) in [("shipped", shipped), ("waiting", waiting)] {
        world::until_exposed(&shipping, "shipments_total", &format!("state=\"{state}\""), count)?;
    }
    for task in [&mut shipping, &mut stock] {
        task.look()?;
        ensure!(task.is_well(), "{}", task.told());
    }
    ensure!(shipping.restarts("shipping") + shipping.restarts("pillion") == 0, "{}", shipping.told());
    ensure!(database.postgres.refused() == 0, "{} logins were refused", database.postgres.refused());
    // Its span is sent only because the app ends well: there is no time for anything else.
    let begun = now_in_seconds()?;
    let header = format!("traceparent: 00-{begun:08x}{LAST:024x}-{LAST:016x}-01\r\nContent-Length: 0");
    let refused = world::call_service(shipping.address("shipping")?, 8083, "POST", "/shipments/seven", &header)?;
    ensure!(refused.starts_with("HTTP/1.0 400"), "{refused}");
    world.stops(&mut shipping)?;
    world.stops(&mut stock)?;
    let segments = world.segments(&format!("1-{begun:08x}-{LAST:024x}"))?;
    ensure!(segments.len() == 1 && segments[0]["name"] == "shipping", "{segments:#?}");
    ensure!(segments[0]["parent_id"] == format!("{LAST:016x}"), "{segments:#?}");

    let written =
        database.sql("SELECT state, count(*), count(DISTINCT number) FROM shipments GROUP BY state ORDER BY 1")?;
    ensure!(written == format!("shipped|{shipped}|{shipped}\nwaiting|{waiting}|{waiting}"), "{written}");
    shipping_and_stock_wrote(&world, [&shipping, &stock], &answers)?;
    let counted = metrics(&world, &namespace)?;
    for (state, count) in [("shipped", shipped), ("waiting", waiting)] {
        let of_state: Vec<_> = counted.iter().filter(|it| it["dimensions"]["state"] == state).collect();
        ensure!(of_state.len() == 1 && of_state[0]["name"] == "shipments_total", "{counted:?}");
        ensure!(of_state[0]["sum"] == count as f64, "{count} {state}: {counted:?}");
    }
    world.balances(&shipping, answers.len())?;
    world.balances(&stock, answers.len())
}

/// Each shipment is a line of both services, in its order, at its level, with the trace that both are in.
fn shipping_and_stock_wrote(world: &World, [shipping, stock]: [&Task; 2], answers: &[Value]) -> Result<()> {
    let written = lines(world, shipping, "shipping")?;
    ensure!(written.last().is_some_and(|line| line["msg"] == "shipping stopped"), "{:?}", written.last());
    let made: Vec<&Value> = written.iter().filter(|line| line["number"].is_u64()).collect();
    let written = lines(world, stock, "stock")?;
    let asked = with_message(&written, "stock asked");
    ensure!(made.len() == answers.len() && asked.len() == answers.len(), "{} and {}", made.len(), asked.len());
    for (number, (made, asked)) in made.iter().zip(&asked).enumerate() {
        ensure!(made["number"] == number && asked["number"] == number, "{made} {asked}");
        let level = if number % 5 == 0 { "WARN" } else { "INFO" };
        let state = answers[number]["state"].as_str().context("no state")?;
        ensure!(made["level"] == level && made["msg"] == format!("shipment {state}"), "{made}");
        let trace = made["trace"].as_str().context("no trace")?.trim_start_matches("1-").replace('-', "");
        ensure!(asked["trace"] == trace, "two traces: {made} {asked}");
    }
    let last = made.last().and_then(|line| line["trace"].as_str()).context("no trace")?;
    let below = one_trace_of_both(world, last, ["shipping", "stock"])?;
    ensure!(below["aws"]["cloudwatch_logs"][0]["log_group"] == "/ecs/stock", "{below:#}");
    Ok(())
}

/// Now, as X-Ray wants it at the beginning of a trace's id.
fn now_in_seconds() -> Result<u64> {
    Ok(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs())
}
