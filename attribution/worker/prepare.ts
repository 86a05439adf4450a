import type { ClaimedConversion } from '../../ledger/conversions/conversion-claims.ts';
import { countMerges } from '../../ledger/programs/affiliates.ts';
import type { RuleFacts } from '../decide/apply-fraud-rules.ts';
import { type ClickFacts, choose, type DecidedChoice, type Won } from '../decide/choose.ts';
import type { Customer } from '../decide/customer.ts';
import { type FactSources, gatherClickFacts } from './click-facts.ts';
import { gatherCustomers } from './customers.ts';
import { haveToWaitForHistory } from './history.ts';
import { haveToWaitForEarlier } from './pace.ts';
import { hasGivenUp } from './retries.ts';
import { gatherRuleFacts } from './rule-facts.ts';

/** A conversion that can be decided, with everything about it that is read without locks. */
export interface PreparedConversion {
  readonly facts: ClickFacts;
  readonly choice: DecidedChoice;
  /** Undefined: no click won, or its affiliate does not exist. */
  readonly ruleFacts: RuleFacts | undefined;
  /** Undefined: no click won. */
  readonly customer: Customer | undefined;
}

/** Looks up the clicks, chooses among them and reads what the fraud rules look at, outside any transaction. */
export async function prepareDecisions(
  sources: FactSources,
  conversions: readonly ClaimedConversion[],
  now: Date,
): Promise<{ prepared: PreparedConversion[]; waiting: ClaimedConversion[] }> {
  const clickFacts = await gatherClickFacts(sources, {
    conversions,
    gaveUp: (conversion) => hasGivenUp(conversion, now),
  });
  const chosen = clickFacts.flatMap((facts) => {
    const choice = choose(facts);
    return choice.kind === 'awaiting_click' ? [] : [{ facts, choice }];
  });
  // Before the paces are read: an earlier order that is decided in between is counted in them.
  const early = await haveToWaitForEarlier(sources.sql, {
    won: chosen.flatMap(winOf),
    decided: chosen.map(({ facts }) => facts.conversion.id),
    now,
  });
  const afterStop = await haveToWaitForHistory(sources.sql, { won: chosen.flatMap(winOf), now });
  const ready = chosen.filter(
    ({
      facts: {
        conversion: { id },
      },
    }) => !early.has(id) && !afterStop.has(id),
  );
  const won = ready.flatMap(winOf);
  const mergesSeen = new Map(ready.map(({ facts }) => [facts.conversion.id, facts.merges]));
  const ruleFacts = await gatherRuleFacts(sources, won, {
    now,
    mergesOf: ({ conversion }) => mergesSeen.get(conversion.id) ?? 0,
  });
  const customers = new Map(
    [...(await gatherCustomers(sources.sql, won))].map(([{ conversion }, customer]) => [
      conversion.id,
      customer,
    ]),
  );
  // A merge that was made meanwhile has terminated whom it merged, which no decision for them may see: they are decided again.
  const merges = await countMerges(
    sources.sql,
    ready.map(({ facts }) => facts.conversion.programId),
  );
  const current = ready.filter(({ facts }) => facts.merges === (merges.get(facts.conversion.programId) ?? 0));
  const readyIds = new Set(current.map(({ facts }) => facts.conversion.id));
  return {
    prepared: current.map(({ facts, choice }) => ({
      facts,
      choice,
      ruleFacts: ruleFacts.get(facts.conversion.id),
      customer: customers.get(facts.conversion.id),
    })),
    waiting: conversions.filter(({ id }) => !readyIds.has(id)),
  };
}

function winOf({ facts, choice }: Pick<PreparedConversion, 'facts' | 'choice'>): Won[] {
  return choice.kind === 'won' ? [{ conversion: facts.conversion, winner: choice.winner }] : [];
}
