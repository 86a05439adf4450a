import { headers as createHeaders, type MsgHdrs, type NatsConnection } from '@nats-io/transport-node';
import { CLICK_RECORD_VERSION, type ClickRecord, encodeClick } from '../../core/clicks/click-record.ts';
import { newLease, writeLease } from '../../core/clicks/lease.ts';
import { BatchHeader, batchMessageId, LEASES_BUCKET, openBucket } from '../../core/clicks/stream.ts';
import { DAY_MS } from '../../core/time.ts';

/** As full as a collector's batches are when many clicks arrive. */
export const BATCH_ROWS = 1_000;
/** Where a row's ip begins: behind ts, node, seq and the four ids. */
const IP_OFFSET = 14 + 16;

/** Makes full batches of one node, as a collector would publish them now. */
export function batchMaker(node: number) {
  const template = Array.from({ length: BATCH_ROWS }, (_, i) => encodeClick(benchClick(i)));
  const offsets: number[] = [];
  let size = 0;
  for (const row of template) {
    offsets.push(size);
    size += row.length;
  }
  return (firstSeq: number): { payload: Buffer; options: { headers: MsgHdrs; msgID: string } } => {
    const payload = Buffer.concat(template);
    stamp(payload, offsets, node, firstSeq);
    const headers = createHeaders();
    headers.set(BatchHeader.version, String(CLICK_RECORD_VERSION));
    headers.set(BatchHeader.node, String(node));
    headers.set(BatchHeader.firstSeq, String(firstSeq));
    headers.set(BatchHeader.rows, String(BATCH_ROWS));
    return { payload, options: { headers, msgID: batchMessageId(node, firstSeq) } };
  };
}

/** A lease for the node of such batches, without which the loader refuses them; one that holds no watermark back. */
export async function leaseNode(nc: NatsConnection, node: number): Promise<void> {
  const lease = newLease(node, Date.now());
  const bucket = await openBucket(nc, LEASES_BUCKET);
  await writeLease(bucket, { ...lease, state: 'crashed', updatedAtMs: lease.startedAtMs + DAY_MS });
}

/** Gives each row of a batch its time, number and address. */
function stamp(payload: Buffer, offsets: readonly number[], node: number, firstSeq: number): void {
  const now = BigInt(Date.now());
  for (const [i, at] of offsets.entries()) {
    payload.writeBigInt64LE(now, at);
    payload.writeUInt16LE(node, at + 8);
    payload.writeUInt32LE(firstSeq + i, at + 10);
    // A million addresses, met again and again.
    payload.writeUInt32BE(0x1000_0000 + (((firstSeq + i) * 7_919) % 1_000_000), at + IP_OFFSET + 12);
  }
}

function benchClick(i: number): ClickRecord {
  const campaign = 1 + Math.floor(1_000 ** ((i % 100) / 100));
  return {
    ts: 0,
    node: 0,
    seq: 0,
    program_id: 1 + (campaign % 20),
    campaign_id: campaign,
    affiliate_id: 1 + (i % 200),
    link_id: campaign * 2_000 + (i % 200),
    ip: Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]),
    flags: i % 20 === 0 ? 1 : 0,
    rule: 0,
    destination: 0,
    fingerprint: BigInt(i * 7_919),
    user_agent: `Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/1${i % 50}.0.0.0 Safari/537.36`,
    device: i % 3 === 0 ? 'mobile' : 'desktop',
    os: 'Windows',
    browser: 'Chrome',
    language: 'en-US',
    referrer: i % 3 === 0 ? '' : `https://www.blog${i % 200}.example/post/${i}`,
    sub1: `src${i % 97}`,
    sub2: '',
    sub3: '',
    sub4: '',
    sub5: '',
    utm_source: 'news',
    utm_medium: 'email',
    utm_campaign: '',
    utm_term: '',
    utm_content: '',
    query: '',
  };
}
