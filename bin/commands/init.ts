import { createInterface } from 'node:readline/promises';
import { invitationLink } from '../../api/auth/mails.ts';
import { formatId, type IntegerIdKind } from '../../api/schemas/ids.ts';
import { setupToken, setupUrl } from '../../api/setup/token.ts';
import { InputError, OperatingError } from '../../core/errors.ts';
import { parsePercent } from '../../core/money/rates.ts';
import { printable } from '../../core/printable.ts';
import { createSecretBox } from '../../core/secret-box.ts';
import { type Database, inTransaction } from '../../ledger/postgres/db.ts';
import { type FirstParts, type FirstSetup, hasOperator, setUp } from '../../ledger/setup/first-setup.ts';
import { readConfig } from '../environment.ts';
import { withLedger } from '../stores.ts';
import { renderTable } from '../table.ts';
import { QUESTIONS, type Question } from './init-questions.ts';
import { describeSteps } from './programs.ts';
import { describeLink } from './users.ts';

type Answers = Map<string, string>;

/**
 * `afflux init`: the first operator, program, campaign and affiliate, by answers or options. What is there is kept; all of
 * the rest is made, or nothing.
 */
export async function init(
  given: Readonly<Record<string, string>>,
  { yes }: { yes: boolean },
): Promise<void> {
  const answers: Answers = new Map(Object.entries(given));
  const asks = !yes && process.stdin.isTTY === true;
  // What is wrong with the options is said without a database too.
  const setup = asks ? undefined : setupOf(completed(answers));
  await withLedger('afflux-init', async (ledger) => {
    const parts = await (setup ? makeParts(ledger, setup) : setUpByAnswers(ledger, answers, process));
    process.stdout.write(await describe(ledger, parts));
  });
}

/** `afflux init --link`: the link of the setup page. @throws OperatingError `wrong_state` once there is an operator. */
export async function printSetupLink(): Promise<void> {
  const { dataKeys, portalUrl } = readConfig();
  await withLedger('afflux-init', async (ledger) => {
    if (await hasOperator(ledger)) {
      throw new OperatingError(
        'wrong_state',
        'there is an operator already, and the setup page takes no other; "afflux users invite" makes a link for a user',
      );
    }
    process.stdout.write(
      `Sets the platform up, once and within a day:\n  ${setupUrl(portalUrl, setupToken(createSecretBox(dataKeys), Date.now()))}\n`,
    );
  });
}

/** The answers with the defaults of what was not given. @throws OperatingError `usage`. */
function completed(given: Answers): Answers {
  const answers: Answers = new Map();
  for (const { option, fallback, after } of QUESTIONS) {
    const isMoot = after !== undefined && !answers.has(after);
    const answer = given.get(option) ?? (isMoot ? undefined : fallback);
    if (answer === undefined) continue;
    if (isMoot) throw new OperatingError('usage', `--${option}: needs --${after}`);
    answers.set(option, answer);
  }
  return answers;
}

/** Asks for what no option gave, and again for what is wrong. @throws OperatingError `usage` when the input ends. */
export async function setUpByAnswers(
  ledger: Database,
  given: ReadonlyMap<string, string>,
  { stdin: input, stdout: output }: { stdin: NodeJS.ReadableStream; stdout: NodeJS.WritableStream },
): Promise<FirstParts> {
  const terminal = createInterface({ input, output });
  const ended = new AbortController();
  // A question would wait for ever for an answer of an input that has ended.
  terminal.once('close', () => ended.abort());
  const answers = new Map(given);
  /** Answered with nothing, and not asked again. */
  const left = new Set<string>();
  async function ask({ option, text, fallback, after }: Question): Promise<void> {
    if (answers.has(option) || left.has(option) || (after !== undefined && !answers.has(after))) return;
    const hint = fallback === undefined ? '' : ` [${fallback}]`;
    const question = terminal.question(`${text}${hint}: `, { signal: ended.signal });
    const answer = (await question.catch(() => refuseEnd())).trim() || fallback;
    if (answer === undefined) left.add(option);
    else answers.set(option, answer);
  }
  try {
    output.write('An empty answer takes what is in brackets, or leaves the part for later.\n\n');
    for (;;) {
      for (const question of QUESTIONS) await ask(question);
      try {
        return await makeParts(ledger, setupOf(answers));
      } catch (error) {
        const wrong = error instanceof InputAtFault ? error.question : undefined;
        if (!wrong) throw error;
        output.write(`\n${printable((error as Error).message)}\n`);
        answers.delete(wrong.option);
        left.delete(wrong.option);
      }
    }
  } finally {
    terminal.close();
  }
}

function refuseEnd(): never {
  throw new OperatingError('usage', 'the answers have ended before the last question: nothing was made');
}

/** An answer that cannot be taken. */
class InputAtFault extends OperatingError {
  readonly question: Question;
  constructor(question: Question, reason: string) {
    super('usage', `--${question.option}: ${reason}`);
    this.question = question;
  }
}

async function makeParts(ledger: Database, setup: FirstSetup): Promise<FirstParts> {
  try {
    return await inTransaction(ledger, (tx) => setUp(tx, setup, { actor: 'command line' }));
  } catch (error) {
    const field = error instanceof InputError ? error.field.replace(/\.\d+$/, '') : undefined;
    const question = QUESTIONS.find((one) => one.field === field);
    if (!question || !(error instanceof InputError)) throw error;
    throw new InputAtFault(question, error.reason);
  }
}

function setupOf(answers: Answers): FirstSetup {
  const email = answers.get('email');
  if (email === undefined) throw new InputAtFault(questionOf('email'), 'is needed');
  const program = answers.get('program');
  const landingUrl = answers.get('landing-url');
  const partnerEmail = answers.get('partner-email');
  return {
    operator: { email, name: answers.get('name') ?? '' },
    program: program === undefined ? undefined : { name: program, currency: answers.get('currency') ?? '' },
    terms: {
      rateBps: rateOf(answers),
      cookieDays: daysOf(answers, 'click-window', 1),
      holdDays: daysOf(answers, 'hold', 0),
      payoutMin: answers.get('minimum'),
    },
    campaign:
      landingUrl === undefined
        ? undefined
        : {
            name: answers.get('campaign') ?? '',
            landingUrl,
            allowedHosts: answers.get('allowed-hosts')?.split(/\s*,\s*/),
          },
    affiliate:
      partnerEmail === undefined ? undefined : { email: partnerEmail, name: answers.get('partner') ?? '' },
  };
}

function questionOf(option: string): Question {
  const question = QUESTIONS.find((one) => one.option === option);
  if (!question) throw new Error(`there is no option ${option}`);
  return question;
}

const MAX_DAYS = 365;

function daysOf(answers: Answers, option: string, least: number): number | undefined {
  const text = answers.get(option);
  if (text === undefined) return undefined;
  const days = Number(text);
  if (/^\d{1,3}$/.test(text) && days >= least && days <= MAX_DAYS) return days;
  throw new InputAtFault(questionOf(option), `must be ${least} to ${MAX_DAYS} days`);
}

/** Percent with at most four decimals, as basis points. */
function rateOf(answers: Answers): number | undefined {
  const text = answers.get('rate');
  if (text === undefined) return undefined;
  try {
    return parsePercent(text.replace(/\s*%$/, ''), 'rate').mul(100).toNumber();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw new InputAtFault(questionOf('rate'), error.reason);
  }
}

/** What there is now, what is still missing, and what to do next. */
async function describe(ledger: Database, parts: FirstParts): Promise<string> {
  const { dataKeys, portalUrl, collectorUrl } = readConfig();
  const { operator, program, campaign, affiliate, link } = parts;
  const row = (
    kind: IntegerIdKind,
    what: string,
    part: { made: { id: number }; isNew: boolean } | undefined,
    name: string,
  ) => (part ? [[part.isNew ? 'made' : 'kept', what, formatId(kind, part.made.id), name]] : []);
  const rows = [
    ...row('user', 'operator', operator, operator.made.email),
    ...row('program', 'program', program, program?.made.name ?? ''),
    ...row('terms', 'terms', parts.terms, ''),
    ...row('campaign', 'campaign', campaign, campaign?.made.name ?? ''),
    ...row('affiliate', 'partner', affiliate, affiliate?.made.email ?? ''),
    ...row('link', 'link', link, link ? `${collectorUrl}/c/${link.made.code}` : ''),
  ];
  const { hasPassword, email } = operator.made;
  const context = { secretBox: createSecretBox(dataKeys), portalUrl };
  const signIn = hasPassword
    ? `Sign in as ${email} at ${portalUrl}/portal/`
    : describeLink(await invitationLink(context, ledger, operator.made));
  const partner = affiliate?.made;
  const next = partner
    ? [
        '',
        'A sign-in for the partner:',
        `  npx afflux users add --role affiliate --affiliate ${formatId('affiliate', partner.id)} --email ${partner.email} --name '${partner.name.replaceAll("'", "'\\''")}'`,
      ]
    : [];
  const steps = program ? ['', 'The program:', await describeSteps(ledger, program.made)] : [];
  return `${[renderTable(rows), '', signIn, ...steps, ...next.map(printable)].join('\n')}\n`;
}
