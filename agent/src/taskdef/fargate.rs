//! The sizes that Fargate has, and what they cost.
//!
//! Promises: the table is that of the ECS developer guide ("task size"); prices are the list prices of us-east-1, Linux on
//! x86_64, and are said to be that.
//! Never: knows other regions, Spot or savings plans.

/// CPU units, and memory in MiB: the least, the most, the step.
const SIZES: [(i64, i64, i64, i64); 8] = [
    (256, 512, 2_048, 512),
    (512, 1_024, 4_096, 1_024),
    (1_024, 2_048, 8_192, 1_024),
    (2_048, 4_096, 16_384, 1_024),
    (4_096, 8_192, 30_720, 1_024),
    (8_192, 16_384, 61_440, 4_096),
    (16_384, 32_768, 122_880, 8_192),
    (32_768, 61_440, 249_856, 8_192),
];

/// Dollars for a vCPU and a GB for an hour, and the hours of a month.
const VCPU_HOUR: f64 = 0.040_48;
const GB_HOUR: f64 = 0.004_445;
const HOURS: f64 = 730.0;

/// The memory sizes of so many CPU units. `None` if there is no such size.
pub fn memory_of(cpu: i64) -> Option<Vec<i64>> {
    let &(cpu, least, most, step) = SIZES.iter().find(|size| size.0 == cpu)?;
    let sizes = (0..).map(|number| least + number * step).take_while(|&memory| memory <= most);
    // 256 CPU units have 512, 1024 and 2048 MiB.
    Some(sizes.filter(|&memory| cpu != 256 || memory != 1_536).collect())
}

/// All CPU sizes.
pub fn cpus() -> impl Iterator<Item = i64> {
    SIZES.iter().map(|size| size.0)
}

/// The cheapest size that has so much of both.
pub fn smallest(cpu: i64, memory: i64) -> Option<(i64, i64)> {
    let fits = cpus()
        .filter(|&size| size >= cpu)
        .filter_map(|size| memory_of(size)?.into_iter().find(|&has| has >= memory).map(|has| (size, has)));
    fits.min_by(|one, other| monthly(one.0, one.1).total_cmp(&monthly(other.0, other.1)))
}

/// Dollars for a month of a task.
pub fn monthly(cpu: i64, memory: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "sizes have six digits")]
    let (vcpus, gigabytes) = (cpu as f64 / 1_024.0, memory as f64 / 1_024.0);
    HOURS * (vcpus * VCPU_HOUR + gigabytes * GB_HOUR)
}

/// CPU units as they may be written: `256`, `.25 vCPU`, `1 vCPU`.
pub fn cpu_units(text: &str) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    let Some(vcpus) = text.strip_suffix("vcpu") else { return text.parse().ok() };
    let thousandths = decimal(vcpus.trim())?;
    Some(thousandths * 1_024 / 1_000)
}

/// MiB as they may be written: `512`, `0.5 GB`, `1GB`.
pub fn mebibytes(text: &str) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    let Some(gigabytes) = text.strip_suffix("gb") else { return text.parse().ok() };
    Some(decimal(gigabytes.trim())? * 1_024 / 1_000)
}

/// A number with up to three places behind the point, in thousandths.
fn decimal(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 3 || (whole.is_empty() && part.is_empty()) {
        return None;
    }
    let number = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<u16>().ok().map(i64::from) };
    Some(number(whole)? * 1_000 + number(&format!("{part:0<3}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_guide() {
        for (cpu, count, first, last) in
            [(256, 3, 512, 2_048), (512, 4, 1_024, 4_096), (4_096, 23, 8_192, 30_720), (16_384, 12, 32_768, 122_880)]
        {
            let sizes = memory_of(cpu).expect("a size");
            assert_eq!((sizes.len(), sizes[0], sizes[sizes.len() - 1]), (count, first, last), "{cpu}");
        }
        assert_eq!(memory_of(300), None);
        assert_eq!(smallest(200, 600), Some((256, 1_024)));
        assert_eq!(smallest(257, 100), Some((512, 1_024)));
        assert_eq!(smallest(256, 3_000), Some((512, 3_072)));
        assert_eq!(smallest(100_000, 1), None);
    }

    /// By hand: 0.25 x 0.04048 + 0.5 x 0.004445 = 0.0123425 dollars an hour, 730 hours.
    #[test]
    fn a_month_costs_what_the_price_list_says() {
        assert!((monthly(256, 512) - 9.010_025).abs() < 1e-9, "{}", monthly(256, 512));
        assert!((monthly(512, 1_024) - 2.0 * monthly(256, 512)).abs() < 1e-9);
    }

    #[test]
    fn sizes_may_be_written_with_units() {
        for (text, units) in [
            ("256", Some(256)),
            (" 1024 ", Some(1_024)),
            (".25 vCPU", Some(256)),
            ("0.5vcpu", Some(512)),
            ("1 vCPU", Some(1_024)),
            ("x", None),
            ("vcpu", None),
            ("1.2345 vcpu", None),
            ("99999999999 vcpu", None),
        ] {
            assert_eq!(cpu_units(text), units, "{text}");
        }
        for (text, size) in [("512", Some(512)), ("0.5 GB", Some(512)), ("2GB", Some(2_048)), ("GB", None), ("-", None)]
        {
            assert_eq!(mebibytes(text), size, "{text}");
        }
    }
}
