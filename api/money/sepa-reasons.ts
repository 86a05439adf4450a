import { MAX_FAILURE_LENGTH } from '../../core/text-limits.ts';
import type { PaymentResult } from '../../ledger/payouts/results.ts';

/**
 * Reasons of refused and returned SEPA credit transfers (EPC135-18; ISO 20022 ExternalStatusReason1Code and
 * ExternalReturnReason1Code), in words for affiliates.
 */
interface Reason {
  readonly words: string;
  /** Whether the affiliate's account is why: nothing is paid to it then until it changes. */
  readonly ofAccount: boolean;
}

const ofAccount = (words: string): Reason => ({ words, ofAccount: true });
/** Something between the operator and its bank, which is no business of the affiliate's. */
const NOT_OF_ACCOUNT: Reason = { words: 'the payment was refused', ofAccount: false };

const REASONS: Readonly<Record<string, Reason>> = {
  AC01: ofAccount('the account number is wrong'),
  AC03: ofAccount('the account number is wrong'),
  AC04: ofAccount('the account is closed'),
  AC06: ofAccount('the account is blocked'),
  AC07: ofAccount('the account is closed'),
  AC13: ofAccount('the account takes no such payments'),
  AC14: ofAccount('the account takes no such payments'),
  AG01: ofAccount('the account takes no such payments'),
  AG03: ofAccount('the account takes no such payments'),
  ARDT: { words: 'the payment had come back already', ofAccount: false },
  BE01: ofAccount('the account holder does not fit the account'),
  BE04: ofAccount('the bank needs the address of the account holder'),
  BE05: ofAccount('the account holder is not known'),
  BE06: ofAccount('the account holder is not known'),
  BE22: ofAccount('the account holder is not known'),
  CNOR: ofAccount('the bank of the account is not reached'),
  MD07: ofAccount('the account holder has died'),
  MS02: ofAccount('the account holder refused the payment'),
  MS03: ofAccount('the bank of the account refused the payment'),
  NOAS: ofAccount('the account holder did not answer'),
  NOOR: { words: 'the payment was not known', ofAccount: false },
  RC01: ofAccount('the bank of the account is not reached'),
  RC04: ofAccount('the bank of the account is not reached'),
  RC07: ofAccount('the bank of the account is not reached'),
  RR02: ofAccount('the bank needs more about the account holder'),
  RR03: ofAccount('the bank needs more about the account holder'),
  RR04: ofAccount('the bank of the account refused the payment'),
  ...Object.fromEntries(
    // The operator's account, its order, its money, its own recall, or the banks' machinery.
    'AC02 AC05 AG02 AGNT AM01 AM02 AM03 AM04 AM05 AM06 AM07 AM09 AM10 CURR CUST CUTA DNOR DT01 DT02 DU01 DU02 DU03 DU04 DU05 DUPL ED05 FF01 FF05 FOCR FRAD RF01 RR01 SL01 TECH TM01 UPAY'
      .split(' ')
      .map((code) => [code, NOT_OF_ACCOUNT]),
  ),
};

/** What a reason's code says; one that is not known is taken as the account's, so that no money goes there again. */
export function reasonOf(
  code: string | undefined,
  bankWords: string | undefined,
): Pick<PaymentResult, 'accountRefused' | 'failure' | 'reason'> {
  const { words, ofAccount: accountRefused } =
    REASONS[code ?? ''] ?? ofAccount('the bank of the account refused the payment');
  const reason = [code ?? 'no code', bankWords ?? words].join(': ').slice(0, MAX_FAILURE_LENGTH);
  return { accountRefused, failure: words, reason };
}

/** Reasons by which a bank refuses what it has already: a file that was uploaded twice, for one. */
const DUPLICATES: ReadonlySet<string> = new Set('AM05 DU01 DU02 DU03 DU04 DU05 DUPL'.split(' '));

/** Whether a refusal says nothing of the payment but that the bank has it already. */
export function isDuplicate(code: string | undefined): boolean {
  return DUPLICATES.has(code ?? '');
}

/** A refusal of a message: whatever its reason, it is about none of the affiliates' accounts. */
export function ofWholeMessage<Result extends Pick<PaymentResult, 'reason'>>(result: Result): Result {
  const { words: failure, ofAccount: accountRefused } = NOT_OF_ACCOUNT;
  return { ...result, accountRefused, failure };
}
