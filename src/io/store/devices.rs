//! Devices in the ledger: one endpoint each, whatever address and name it has.
//!
//! What is known of a device may come after its first attempt: then the endpoint that stands for its address alone, if that is not
//! older than the device's hold on the address, turns out to be the device, and what it did is the device's.

use super::convert::millis;
use super::ids::Ids;
use super::rows;
use crate::base::model::{Device, DeviceNote, Fact, Mac};
use rusqlite::{Connection, OptionalExtension as _, params};

/// Facts of one kind that are kept of an endpoint: the latest.
const FACTS_MAX: i64 = 64;
/// How much earlier than the packet that shows who has an address an attempt from it may be recorded, in milliseconds: threads hand
/// over what they saw a few times a second.
const SLACK_MS: i64 = 5_000;

/// Writes news of devices.
pub(super) fn write(conn: &Connection, ids: &mut Ids, notes: &[DeviceNote]) -> rusqlite::Result<()> {
    notes.iter().try_for_each(|note| match note {
        DeviceNote::Seen(device) => seen(conn, ids, device),
        DeviceNote::Router(mac) => router(conn, ids, *mac),
    })
}

fn seen(conn: &Connection, ids: &mut Ids, device: &Device) -> rusqlite::Result<()> {
    let mac = device.mac.map(|mac| mac.to_string());
    let by = |kind, value: &Option<String>| value.as_ref().map_or(Ok(None), |value| holder(conn, kind, value));
    let (by_client, by_mac) = (by("client-id", &device.client_id)?, by("mac", &mac)?);
    let mut id = by_client.or(by_mac);
    if let (Some(into), Some(from)) = (by_client, by_mac)
        && into != from
        && !has_other(conn, from, "client-id", device.client_id.as_deref())?
    {
        merge(conn, ids, from, into)?;
    }
    let mut addresses = device.addresses.clone();
    addresses.sort_by_key(|(_, _, last)| *last);
    for (address, first, last) in addresses.iter().rev() {
        let text = address.to_canonical().to_string();
        let nameless =
            holder(conn, "address", &text)?.map(|held| Ok::<_, rusqlite::Error>((held, is_nameless(conn, held)?)));
        match (id, nameless.transpose()?) {
            (None, Some((held, true))) => id = Some(held),
            (Some(known), Some((held, true))) if held != known => {
                let began: i64 =
                    conn.query_row("SELECT first FROM endpoint WHERE id = ?1", [held], |row| row.get(0))?;
                if began >= millis(*first).saturating_sub(SLACK_MS) {
                    merge(conn, ids, held, known)?;
                }
            }
            _ => {}
        }
        let made = id.map_or_else(|| ids.make(conn, *first), |id| Ok(Some(id)))?;
        let Some(known) = made else { return Ok(()) };
        id = Some(known);
        put(conn, known, "address", &(text.clone(), *first, *last))?;
        if holder(conn, "address", &text)? == Some(known) {
            ids.bind(*address, known);
        }
    }
    let Some(id) = id else { return Ok(()) };
    let dated = |value: String| (value, device.last, device.last);
    let class = device.vendor_class.clone();
    for (kind, value) in [
        ("mac", mac),
        ("client-id", device.client_id.clone()),
        ("vendor-class", class),
        ("segment", device.segment.clone()),
    ] {
        value.map_or(Ok(()), |value| put(conn, id, kind, &dated(value)))?;
    }
    device.names.iter().try_for_each(|name| put(conn, id, "name", name))?;
    conn.prepare_cached("UPDATE endpoint SET last = max(last, ?2) WHERE id = ?1")?
        .execute([id, millis(device.last)])?;
    Ok(())
}

/// Whoever has a fact, or had it last.
fn holder(conn: &Connection, kind: &str, value: &str) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT endpoint FROM endpoint_fact WHERE kind = ?1 AND value = ?2 ORDER BY last DESC LIMIT 1")?
        .query_row([kind, value], |row| row.get(0))
        .optional()
}

/// Whether an endpoint is known by its address alone.
fn is_nameless(conn: &Connection, id: i64) -> rusqlite::Result<bool> {
    conn.prepare_cached(
        "SELECT NOT EXISTS (SELECT 1 FROM endpoint_fact WHERE endpoint = ?1 AND kind IN ('mac', 'client-id'))",
    )?
    .query_row([id], |row| row.get(0))
}

/// Whether an endpoint has a fact of a kind, and not this one.
fn has_other(conn: &Connection, id: i64, kind: &str, value: Option<&str>) -> rusqlite::Result<bool> {
    conn.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM endpoint_fact WHERE endpoint = ?1 AND kind = ?2 AND value IS NOT ?3)",
    )?
    .query_row(params![id, kind, value], |row| row.get(0))
}

fn put(conn: &Connection, id: i64, kind: &str, (value, first, last): &Fact<String>) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO endpoint_fact (endpoint, kind, value, first, last) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last)",
    )?
    .execute(params![id, kind, value, millis(*first), millis(*last)])?;
    conn.prepare_cached(
        "DELETE FROM endpoint_fact WHERE endpoint = ?1 AND kind = ?2 AND last <
           (SELECT last FROM endpoint_fact WHERE endpoint = ?1 AND kind = ?2 ORDER BY last DESC LIMIT 1 OFFSET ?3)",
    )?
    .execute(params![id, kind, FACTS_MAX - 1])?;
    Ok(())
}

/// What had been put down to a hardware address was several hosts': from now on its addresses are endpoints of their own, but for the
/// first, which keeps what is recorded already.
fn router(conn: &Connection, ids: &mut Ids, mac: Mac) -> rusqlite::Result<()> {
    let Some(id) = holder(conn, "mac", &mac.to_string())? else { return Ok(()) };
    conn.execute("DELETE FROM endpoint_fact WHERE endpoint = ?1 AND kind IN ('mac', 'name', 'segment')", [id])?;
    if is_nameless(conn, id)? {
        conn.execute(
            "DELETE FROM endpoint_fact WHERE endpoint = ?1 AND kind = 'address' AND value <>
               (SELECT value FROM endpoint_fact WHERE endpoint = ?1 AND kind = 'address' ORDER BY first, value LIMIT 1)",
            [id],
        )?;
    }
    ids.forget();
    Ok(())
}

/// Two endpoints were one all along.
fn merge(conn: &Connection, ids: &mut Ids, from: i64, into: i64) -> rusqlite::Result<()> {
    rows::merge(conn, from, into)?;
    conn.execute(
        "INSERT INTO endpoint_fact SELECT ?2, kind, value, first, last FROM endpoint_fact WHERE endpoint = ?1
         ON CONFLICT DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last)",
        [from, into],
    )?;
    conn.execute("UPDATE OR IGNORE incident SET endpoint = ?2 WHERE endpoint = ?1", [from, into])?;
    conn.execute(
        "UPDATE endpoint SET first = min(first, (SELECT first FROM endpoint WHERE id = ?1)),
           last = max(last, (SELECT last FROM endpoint WHERE id = ?1)) WHERE id = ?2",
        [from, into],
    )?;
    conn.execute("DELETE FROM endpoint WHERE id = ?1", [from])?;
    ids.forget();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, integer, opened, sighting};
    use super::super::{Store, Work};
    use super::*;
    use crate::base::model::Sighting;
    use std::net::IpAddr;

    fn device(mac: u8, addresses: &[(&str, i64, i64)]) -> Device {
        let last = addresses.iter().map(|(_, _, last)| *last).max().unwrap_or(0);
        Device {
            mac: Some(Mac([2, 0, 0, 0, 0, mac])),
            client_id: None,
            vendor_class: None,
            segment: None,
            addresses: addresses
                .iter()
                .map(|(address, first, last)| (address.parse().unwrap(), at(*first), at(*last)))
                .collect(),
            names: vec![(format!("host{mac}"), at(0), at(last))],
            last: at(last),
        }
    }

    fn seen(device: Device) -> Vec<DeviceNote> {
        vec![DeviceNote::Seen(Box::new(device))]
    }

    fn from(address: &str, second: i64) -> Sighting {
        Sighting { client: address.parse::<IpAddr>().unwrap(), ..sighting(1, "a.upd.kaspersky.com", second, 1) }
    }

    fn commit(store: &mut Store, devices: &[DeviceNote], sightings: &[Sighting]) {
        store.commit(at(9), Work { sightings, devices, notes: &[], lost: 0, lost_since: at(9) }).unwrap();
    }

    fn endpoints(store: &Store) -> Vec<i64> {
        let mut statement = store.conn.prepare("SELECT sum(count) FROM ledger GROUP BY endpoint ORDER BY 1").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn a_device_is_one_endpoint_whatever_its_address_and_whenever_it_becomes_known() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = opened(dir.path());
        // Its first attempts come before anything is known of it; then it moves, and its attempts are handed over before that is.
        commit(&mut store, &[], &[from("10.0.0.1", 1), from("10.0.0.2", 1)]);
        commit(&mut store, &seen(device(1, &[("10.0.0.1", 1, 2)])), &[]);
        commit(&mut store, &[], &[from("10.0.0.9", 100)]);
        commit(&mut store, &seen(device(1, &[("10.0.0.1", 1, 2), ("10.0.0.9", 101, 101)])), &[from("10.0.0.9", 102)]);
        assert_eq!(endpoints(&store), [1, 3]);
        assert_eq!(integer(&store.conn, "SELECT sum(count) FROM ledger_day"), 4);
        assert_eq!(integer(&store.conn, "SELECT sum(count) FROM destination"), 4);
        assert_eq!(integer(&store.conn, "SELECT sum(count) FROM ledger_channel"), 4);
        // Another device gets the address that it left, and later the one that it has.
        commit(&mut store, &seen(device(2, &[("10.0.0.1", 200, 201)])), &[from("10.0.0.1", 202)]);
        commit(&mut store, &seen(device(2, &[("10.0.0.9", 300, 301)])), &[from("10.0.0.9", 302)]);
        assert_eq!(endpoints(&store), [1, 2, 3]);
    }

    #[test]
    fn an_address_that_was_somebody_s_before_keeps_what_it_did() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = opened(dir.path());
        commit(&mut store, &[], &[from("10.0.0.9", 1)]);
        commit(&mut store, &seen(device(1, &[("10.0.0.1", 50, 50)])), &[from("10.0.0.1", 51)]);
        commit(&mut store, &seen(device(1, &[("10.0.0.9", 100, 100)])), &[from("10.0.0.9", 101)]);
        assert_eq!(endpoints(&store), [1, 2]);
    }

    #[test]
    fn a_router_is_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = opened(dir.path());
        let all: Vec<_> = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|address| (address, 1, 1)).to_vec();
        commit(&mut store, &seen(device(1, &all)), &[from("10.0.0.1", 2)]);
        commit(&mut store, &[DeviceNote::Router(Mac([2, 0, 0, 0, 0, 1]))], &[]);
        commit(&mut store, &[], &[from("10.0.0.1", 3), from("10.0.0.2", 3), from("10.0.0.3", 3)]);
        assert_eq!(endpoints(&store), [1, 1, 2]);
        assert_eq!(integer(&store.conn, "SELECT count(*) FROM endpoint_fact WHERE kind = 'mac'"), 0);
    }

    #[test]
    fn a_client_id_holds_two_hardware_addresses_together() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = opened(dir.path());
        let with = |mac, address| Device { client_id: Some("01ff".to_owned()), ..device(mac, &[(address, 1, 1)]) };
        commit(&mut store, &seen(device(2, &[("10.0.0.2", 1, 1)])), &[from("10.0.0.2", 2)]);
        commit(&mut store, &seen(with(1, "10.0.0.1")), &[from("10.0.0.1", 2)]);
        commit(&mut store, &seen(with(2, "10.0.0.2")), &[]);
        assert_eq!(endpoints(&store), [2]);
    }
}
