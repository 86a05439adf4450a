import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** A redirect that a visitor received. */
export interface ReceivedClick {
  /** The number of its request, which it carries as `sub1`. */
  readonly request: number;
  readonly clickId: string;
  readonly affiliateId: number;
  /** Of a link whose terms are a plain percentage. */
  readonly isPercent: boolean;
}

/** An order as the shop knows it. */
export interface ShopOrder {
  readonly orderId: string;
  readonly amountMinor: number;
  readonly click: ReceivedClick | undefined;
  /** Set once the API has accepted it. */
  conversionId: string | undefined;
  /** Of the refund that the API has accepted. */
  refundedMinor: number;
}

/** What the clients received: in memory for the comparison, and appended to files that are never rewritten. */
export interface ClientRecord {
  readonly clicks: ReceivedClick[];
  readonly orders: ShopOrder[];
  requests: number;
  /** Answers that no fault explains, such as a refusal of an order that is right. */
  readonly strange: string[];
  noteClick(click: ReceivedClick): void;
  noteOrder(line: object): void;
  close(): void;
}

export function createClientRecord(folder: string): ClientRecord {
  const clickFile = openSync(join(folder, 'clicks.log'), 'ax');
  const orderFile = openSync(join(folder, 'orders.log'), 'ax');
  const record: ClientRecord = {
    clicks: [],
    orders: [],
    requests: 0,
    strange: [],
    noteClick(click) {
      writeSync(clickFile, `${Date.now()} ${click.request} ${click.clickId}\n`);
      record.clicks.push(click);
    },
    noteOrder(line) {
      writeSync(orderFile, `${JSON.stringify({ at: Date.now(), ...line })}\n`);
    },
    close() {
      closeSync(clickFile);
      closeSync(orderFile);
    },
  };
  return record;
}
