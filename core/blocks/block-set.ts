import { parseNetwork } from '../ip.ts';
import { asnOf, type BlockKind, type BlockRow, hostOf, MAX_DOMAIN_LENGTH, matchesPattern } from './block.ts';
import { NetworkTable } from './network-table.ts';

/** The properties of a click that block lists look at. */
export interface BlockedVisit {
  /** Unix milliseconds. */
  readonly ts: number;
  /** 16 bytes, whole. */
  readonly ip: Uint8Array;
  /** One object for all clicks with these headers: what its User-Agent matches is looked up once. */
  readonly visitor: { readonly userAgent: string };
  /** Referrer, sub1–5, and more. */
  readonly traffic: readonly string[];
  readonly link: { readonly programId: number; readonly affiliateId: number };
}

/** What is known of an address. */
export interface AddressLists {
  /** ISO 3166; '' when unknown. */
  readonly countryOf: (ip: Uint8Array) => string;
  /** 0 when unknown. */
  readonly asnOf: (ip: Uint8Array) => number;
}

/** The entries of one value, which can be several: of an earlier and a later one each has its time. */
type Entries = readonly BlockRow[];

/**
 * The block lists in memory, of every program. A look-up costs a few hash look-ups, however many entries there are; a program
 * without entries costs one. Only patterns of User-Agents are tried one after the other, once for each different visitor.
 */
export class BlockSet {
  readonly #rows = new Map<number, BlockRow>();
  /** By program; 0: of every program. */
  readonly #lists = new Map<number, BlockList>();
  /** The number of entries that need the list of autonomous systems. */
  #asns = 0;
  #nextEndMs = Number.POSITIVE_INFINITY;

  get size(): number {
    return this.#rows.size;
  }

  get needsAsns(): boolean {
    return this.#asns > 0;
  }

  rows(): IterableIterator<BlockRow> {
    return this.#rows.values();
  }

  /** Adds an entry, or replaces it. */
  put(row: BlockRow): void {
    this.remove(row.id);
    this.#rows.set(row.id, row);
    this.#listOf(row).add(row);
    if (row.kind === 'asn') this.#asns++;
    this.#nextEndMs = Math.min(this.#nextEndMs, endOf(row));
  }

  /** Removes an entry, if it is there: that it has ended is for the clock that ended it to say. */
  remove(id: number): void {
    const row = this.#rows.get(id);
    if (!row) return;
    this.#rows.delete(id);
    const list = this.#listOf(row);
    list.remove(row);
    if (list.size === 0) this.#lists.delete(row.programId ?? 0);
    if (row.kind === 'asn') this.#asns--;
  }

  /** Forgets what has ended by its date: that no click is blocked by it does not depend on this. */
  removeEnded(nowMs: number): void {
    if (nowMs < this.#nextEndMs) return;
    this.#nextEndMs = Number.POSITIVE_INFINITY;
    for (const row of this.#rows.values()) {
      const endMs = endOf(row);
      if (endMs <= nowMs) this.remove(row.id);
      else this.#nextEndMs = Math.min(this.#nextEndMs, endMs);
    }
  }

  /** The entry that blocks a click: of several one with the fallback, which is the stricter. */
  find(visit: BlockedVisit, lists: AddressLists): BlockRow | undefined {
    if (this.#rows.size === 0) return undefined;
    const ofAll = this.#lists.get(0);
    const ofProgram = this.#lists.get(visit.link.programId);
    if (!ofAll && !ofProgram) return undefined;
    const found = ofProgram?.find(visit, lists);
    if (found?.action === 'fallback' || !ofAll) return found;
    return stricter(found, ofAll.find(visit, lists));
  }

  #listOf(row: BlockRow): BlockList {
    const key = row.programId ?? 0;
    const known = this.#lists.get(key);
    if (known) return known;
    const list = new BlockList();
    this.#lists.set(key, list);
    return list;
  }
}

/** The entries of one program, or of all together. */
class BlockList {
  size = 0;
  readonly #networks = new NetworkTable<Entries>();
  /** Of the click that is looked at: a new array for each would be garbage. */
  readonly #holding: Entries[] = [];
  readonly #asns = new Map<number, Entries>();
  readonly #countries = new Map<string, Entries>();
  readonly #referrers = new Map<string, Entries>();
  /** The most labels that a domain of them has, or had. */
  #referrerLabels = 0;
  /** By affiliate, then by the number of the sub, then by its value. */
  readonly #subs = new Map<number, (Map<string, Entries> | undefined)[]>();
  #patterns: Entries = [];
  #byVisitor = new WeakMap<object, Entries>();
  /** How many entries of each kind there are: a kind without entries costs nothing. */
  readonly #counts: Record<BlockKind, number> = {
    address: 0,
    network: 0,
    asn: 0,
    country: 0,
    user_agent: 0,
    referrer: 0,
    sub_id: 0,
  };

  add(row: BlockRow): void {
    this.size++;
    this.#counts[row.kind]++;
    this.#change(row, (entries) => [...entries, row]);
  }

  remove(row: BlockRow): void {
    this.size--;
    this.#counts[row.kind]--;
    this.#change(row, (entries) => entries.filter(({ id }) => id !== row.id));
  }

  find(visit: BlockedVisit, { countryOf, asnOf: asnOfIp }: AddressLists): BlockRow | undefined {
    const { ts, ip, traffic, link } = visit;
    const counts = this.#counts;
    let found: BlockRow | undefined;
    if (counts.address > 0 || counts.network > 0) {
      const holding = this.#holding;
      holding.length = 0;
      this.#networks.find(ip, holding);
      for (const entries of holding) found = stricter(found, inForce(entries, ts));
    }
    if (counts.sub_id > 0) {
      const subs = this.#subs.get(link.affiliateId);
      if (subs) {
        for (let sub = 1; sub < subs.length; sub++) {
          const value = traffic[sub];
          const entries = value ? subs[sub]?.get(value) : undefined;
          if (entries) found = stricter(found, inForce(entries, ts));
        }
      }
    }
    if (counts.user_agent > 0) found = stricter(found, inForce(this.#patternsOf(visit.visitor), ts));
    if (counts.referrer > 0 && traffic[0]) found = stricter(found, this.#referrer(hostOf(traffic[0]), ts));
    if (counts.country > 0) found = stricter(found, inForce(this.#countries.get(countryOf(ip)), ts));
    if (counts.asn > 0) found = stricter(found, inForce(this.#asns.get(asnOfIp(ip)), ts));
    return found;
  }

  /** The domain itself, and every one above it. What a visitor sends as a host is theirs to choose: both bounds keep it cheap. */
  #referrer(host: string, ts: number): BlockRow | undefined {
    if (host.length > MAX_DOMAIN_LENGTH) return undefined;
    let found: BlockRow | undefined;
    let dot = host.length;
    for (let labels = 1; labels <= this.#referrerLabels && dot > 0; labels++) {
      dot = host.lastIndexOf('.', dot - 1);
      // No domain of the list has one label.
      if (labels === 1) continue;
      const entries = this.#referrers.get(host.slice(dot + 1));
      if (entries) found = stricter(found, inForce(entries, ts));
    }
    return found;
  }

  #patternsOf(visitor: BlockedVisit['visitor']): Entries {
    const known = this.#byVisitor.get(visitor);
    if (known) return known;
    const userAgent = visitor.userAgent.toLowerCase();
    const matching = this.#patterns.filter(({ value }) => matchesPattern(value, userAgent));
    this.#byVisitor.set(visitor, matching);
    return matching;
  }

  #change(row: BlockRow, change: (entries: Entries) => Entries): void {
    const { kind, value } = row;
    if (kind === 'address' || kind === 'network') {
      const network = parseNetwork(value);
      if (!network) return;
      const { address, bits } = network;
      this.#networks.set(address, bits, orNothing(change(this.#networks.get(address, bits) ?? [])));
    } else if (kind === 'asn') changeIn(this.#asns, asnOf(value), change);
    else if (kind === 'country') changeIn(this.#countries, value, change);
    else if (kind === 'referrer') {
      changeIn(this.#referrers, value, change);
      this.#referrerLabels = Math.max(this.#referrerLabels, value.split('.').length);
    } else if (kind === 'sub_id') {
      const [affiliateId, sub] = [row.affiliateId ?? 0, row.sub ?? 0];
      const subs = this.#subs.get(affiliateId) ?? [];
      const values = subs[sub] ?? new Map<string, Entries>();
      changeIn(values, value, change);
      subs[sub] = values.size === 0 ? undefined : values;
      if (subs.some((entries) => entries !== undefined)) this.#subs.set(affiliateId, subs);
      else this.#subs.delete(affiliateId);
    } else {
      this.#patterns = change(this.#patterns);
      this.#byVisitor = new WeakMap();
    }
  }
}

const NOTHING: Entries = [];

function changeIn<Key>(map: Map<Key, Entries>, key: Key, change: (entries: Entries) => Entries): void {
  const entries = orNothing(change(map.get(key) ?? NOTHING));
  if (entries) map.set(key, entries);
  else map.delete(key);
}

function orNothing(entries: Entries): Entries | undefined {
  return entries.length === 0 ? undefined : entries;
}

function endOf({ endsAtMs }: BlockRow): number {
  return endsAtMs ?? Number.POSITIVE_INFINITY;
}

/** The strictest of the entries that have not ended. */
function inForce(entries: Entries | undefined, ts: number): BlockRow | undefined {
  let found: BlockRow | undefined;
  if (entries) for (const row of entries) if (ts < endOf(row)) found = stricter(found, row);
  return found;
}

function stricter(a: BlockRow | undefined, b: BlockRow | undefined): BlockRow | undefined {
  return a === undefined || (b?.action === 'fallback' && a.action === 'redirect') ? b : a;
}
