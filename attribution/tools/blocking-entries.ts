import { type Block, entriesInForce } from '../../ledger/blocks/blocks.ts';
import type { Conversion } from '../../ledger/conversions/conversions.ts';
import type { DatabaseSql } from '../../ledger/postgres/db.ts';
import { parseEvidence } from '../decide/evidence.ts';

/** Listed of each kind of answer; a click has few. */
const MAX_ENTRIES = 20;

/**
 * The entries of the block lists by which a click of the order was blocked. A click does not say which: where its address
 * leaves no doubt those that hold it are named, else every one that can have been it.
 */
export async function explainBlockedClicks(sql: DatabaseSql, conversion: Conversion): Promise<string[]> {
  const blocked = (parseEvidence(conversion.evidence)?.candidates ?? []).filter(
    ({ lost }) => lost === 'blocked_click',
  );
  const lines: string[] = [];
  for (const { identity, at, affiliateId, ip } of blocked) {
    const { programId } = conversion;
    const question = { programId, at: new Date(at), affiliateId, ip, limit: MAX_ENTRIES };
    const { certain, possible, others } = await entriesInForce(sql, question);
    if (certain.length > 0) {
      lines.push(`Click ${identity} was blocked by what was in force then: ${listed(certain)}.`);
    } else if (possible.length > 0) {
      const more = others === 0 ? '' : `; or by one of ${others} older ones`;
      lines.push(
        `Click ${identity} was blocked by one of those in force about then: ${listed(possible)}${more}.`,
      );
    }
  }
  return lines;
}

function listed(entries: readonly Block[]): string {
  return entries.map(describe).join('; ');
}

/** What an entry of every program says is not for those of one program. */
function describe({ id, programId, kind, value, reason }: Block): string {
  if (programId === null) return `blk_${id}, an entry of every program`;
  return `blk_${id}, ${kind} ${JSON.stringify(value)} (“${reason}”)`;
}
