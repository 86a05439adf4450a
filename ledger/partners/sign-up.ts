import { InputError } from '../../core/errors.ts';
import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';
import { answeringInput } from '../postgres/input-faults.ts';

/** The page on which partners apply for a program, and the conditions of participation that they accept there. */

export const QUESTION_KINDS = ['short', 'long', 'choice'] as const;

export interface Question {
  readonly label: string;
  readonly kind: (typeof QUESTION_KINDS)[number];
  readonly required: boolean;
  /** What can be chosen; empty for the other kinds. */
  readonly choices: readonly string[];
}

/** A form that is longer is not filled in. */
export const MAX_QUESTIONS = 20;
export const MAX_CHOICES = 30;
/** Of a label, and of a choice. */
export const MAX_LABEL_LENGTH = 200;
/** Of an answer to a short and to a long question. */
export const MAX_ANSWER_LENGTHS = { short: 300, long: 3_000 } as const;
export const MAX_CONDITIONS_LENGTH = 50_000;
export const MAX_SLUG_LENGTH = 64;

/** What most programs ask, until an operator asks something else. */
const DEFAULT_QUESTIONS: readonly Question[] = [
  { label: 'Your website or channel', kind: 'short', required: true, choices: [] },
  { label: 'How will you promote us?', kind: 'long', required: true, choices: [] },
];

export interface Conditions {
  readonly version: number;
  readonly text: string;
}

export interface SignUpPage {
  readonly programId: number;
  /** Null: none was chosen, so that the page was never open. */
  readonly slug: string | null;
  readonly open: boolean;
  readonly questions: readonly Question[];
  /** In force; null: none. */
  readonly conditions: Conditions | null;
}

interface Row {
  readonly programId: number;
  readonly slug: string;
  readonly open: boolean;
  readonly questions: readonly Question[];
  readonly version: number | null;
  readonly text: string | null;
}

const select = (sql: DatabaseSql) => sql`
  select p.program_id, p.slug, p.open, p.questions, c.version, c.text
  from sign_up_pages p
  left join conditions c on c.program_id = p.program_id and c.version = p.conditions_version`;

function pageOf({ version, text, ...rest }: Row): SignUpPage {
  return { ...rest, conditions: version === null || text === null ? null : { version, text } };
}

/** The page of a program, as it would be where the operator has set nothing. */
export async function getSignUpPage(sql: DatabaseSql, programId: number): Promise<SignUpPage> {
  const [row] = await sql<Row[]>`${select(sql)} where p.program_id = ${programId}`;
  return row
    ? pageOf(row)
    : { programId, slug: null, open: false, questions: DEFAULT_QUESTIONS, conditions: null };
}

/** The open page of an address with the name of its program; undefined also while it is off or the program is not active. */
export async function findOpenPage(
  sql: DatabaseSql,
  slug: string,
): Promise<(SignUpPage & { programName: string }) | undefined> {
  const [row] = await sql<(Row & { programName: string })[]>`
    select p.program_id, p.slug, p.open, p.questions, c.version, c.text, r.name as program_name
    from sign_up_pages p
    join programs r on r.id = p.program_id and r.status = 'active'
    left join conditions c on c.program_id = p.program_id and c.version = p.conditions_version
    where p.slug = ${slug} and p.open`;
  return row && { ...pageOf(row), programName: row.programName };
}

export interface SignUpChanges {
  readonly slug?: string | undefined;
  readonly open?: boolean | undefined;
  readonly questions?: readonly Question[] | undefined;
  /** Null: none from now on. A text that differs from the one in force is a new version. */
  readonly conditions?: string | null | undefined;
}

/** Changes the page of a program, which the caller has locked. @throws InputError. */
export async function changeSignUpPage(
  tx: DatabaseTransaction,
  { programId, changes }: { programId: number; changes: SignUpChanges },
): Promise<SignUpPage> {
  const before = await getSignUpPage(tx, programId);
  const slug = changes.slug ?? before.slug;
  if (slug === null) throw new InputError('slug', 'is required: it is the end of the address of the page');
  const conditionsVersion = await versionOf(tx, before, changes.conditions);
  const row = {
    slug,
    open: changes.open ?? before.open,
    questions: tx.json((changes.questions ?? before.questions) as never),
    conditionsVersion,
  };
  await answeringInput(tx`
    insert into sign_up_pages ${tx.values({ programId, ...row })}
    on conflict (program_id) do update set ${tx.set(row)}`);
  return await getSignUpPage(tx, programId);
}

/** The version of these conditions, which is made where they are new. */
async function versionOf(
  tx: DatabaseTransaction,
  { programId, conditions }: SignUpPage,
  text: string | null | undefined,
): Promise<number | null> {
  if (text === undefined || text === conditions?.text) return conditions?.version ?? null;
  if (text === null) return null;
  const [made] = await tx<[{ version: number }]>`
    insert into conditions (program_id, version, text)
    select ${programId}, coalesce(max(version), 0) + 1, ${text} from conditions where program_id = ${programId}
    returning version`;
  return made.version;
}

/** A version of the conditions, in force or not. */
export async function getConditions(
  sql: DatabaseSql,
  { programId, version }: { programId: number; version: number },
): Promise<Conditions | undefined> {
  const [found] = await sql<Conditions[]>`
    select version, text from conditions where program_id = ${programId} and version = ${version}`;
  return found;
}
