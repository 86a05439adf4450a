import type { LedgerSql } from './db.ts';
import type { Page, PageRequest } from './page.ts';

export const PROGRAM_STATUSES = ['active', 'paused', 'ended'] as const;
export type ProgramStatus = (typeof PROGRAM_STATUSES)[number];
/** What a fingerprint match without a click id is worth: nothing, a reviewer's time, or the commission. */
export const FINGERPRINT_MATCHES = ['off', 'review', 'credit'] as const;
export type FingerprintMatch = (typeof FINGERPRINT_MATCHES)[number];

/** What a program's fraud rules compare with; `rulesVersion` counts their changes. */
export interface FraudSettings {
  readonly fingerprintMatch: FingerprintMatch;
  /** More conversions than this from one ip within an hour are reviewed. */
  readonly conversionsPerIpHour: number;
  /** A conversion sooner than this many seconds after its click is reviewed. */
  readonly instantConversionSeconds: number;
}

export interface Program extends FraudSettings {
  readonly id: number;
  readonly name: string;
  /** ISO 4217; every order, commission and payout of the program is in it. */
  readonly currency: string;
  readonly status: ProgramStatus;
  readonly fallbackUrl: string | null;
  readonly trackingDomain: string | null;
  readonly rulesVersion: number;
  readonly createdAt: Date;
}

export interface NewProgram extends Partial<FraudSettings> {
  readonly name: string;
  readonly currency: string;
  readonly fallbackUrl?: string | null | undefined;
  readonly trackingDomain?: string | null | undefined;
}

export type ProgramChanges = Partial<Omit<NewProgram, 'currency'>> & { readonly status?: ProgramStatus };

/** Creates a program; its terms are opened with `setTerms`. @throws InputError. */
export async function createProgram(_sql: LedgerSql, _program: NewProgram): Promise<Program> {
  throw new Error('not built yet');
}
export async function getProgram(_sql: LedgerSql, _id: number): Promise<Program | undefined> {
  throw new Error('not built yet');
}
/** Programs by id. */
export async function listPrograms(
  _sql: LedgerSql,
  _request: PageRequest<number>,
): Promise<Page<Program, number>> {
  throw new Error('not built yet');
}
/** @throws InputError. Returns undefined when there is no such program. */
export async function updateProgram(
  _sql: LedgerSql,
  _options: { id: number; changes: ProgramChanges },
): Promise<Program | undefined> {
  throw new Error('not built yet');
}
