import createClient from 'openapi-fetch';
import type { components, paths } from '../../../../api/client/types.ts';
import { t } from '../text/t.ts';
import { withKeptKeys } from './kept-keys.ts';

/** The generated API client with the session's token and its error answers. */

export type Schemas = components['schemas'];
export type Money = Schemas['Money'];

export const api = createClient<paths>({
  baseUrl: window.location.origin,
  fetch: mended(
    { code: 'reauthentication_required', mend: () => confirmSignIn() },
    mended(
      { code: 'csrf_token_missing', mend: () => renewSession() },
      withKeptKeys((request) => fetch(request)),
    ),
  ),
});

const CSRF_HEADER = 'x-csrf-token';
let csrfToken = '';
let onSignedOut = (): void => undefined;
/** What failed without a session, to be tried again with the next one. */
export const SIGNED_IN = 'afflux-signed-in-again';
let confirmSignIn = async (): Promise<boolean> => false;
let renewSession = async (): Promise<boolean> => false;

/** Later changes carry the CSRF token of this session. */
export function setSessionToken(token: string): void {
  csrfToken = token;
}

/** Called when the session is no longer valid. */
export function whenSignedOut(call: () => void): void {
  onSignedOut = call;
}

/** Called when a request needs the password again; resolves to whether it was given. */
export function whenConfirmationNeeded(call: () => Promise<boolean>): void {
  confirmSignIn = call;
}

/** Called when the browser has a newer session; resolves to whether it is the same user's, with its token set. */
export function whenSessionReplaced(call: () => Promise<boolean>): void {
  renewSession = call;
}

type Send = (request: Request) => Promise<Response>;

/** Sends a request, and once more where it was refused with a code whose cause is `mend`ed then. */
function mended({ code, mend }: { code: string; mend: () => Promise<boolean> }, send: Send): Send {
  /** Requests that wait for the same. */
  let mending: Promise<boolean> | undefined;
  return async (request) => {
    const again = request.clone();
    const response = await send(request);
    if (response.status !== 403) return response;
    const problem: { code?: unknown } = await response.clone().json();
    if (problem.code !== code) return response;
    mending ??= mend().finally(() => {
      mending = undefined;
    });
    if (!(await mending)) return response;
    again.headers.set(CSRF_HEADER, csrfToken);
    return await send(again);
  };
}

api.use({
  onRequest({ request }) {
    if (csrfToken !== '') request.headers.set(CSRF_HEADER, csrfToken);
  },
  onResponse({ response }) {
    if (response.status === 401 && csrfToken !== '') onSignedOut();
  },
});

/** An error answer of the API (RFC 9457). */
export class ApiProblem extends Error {
  readonly problem: Schemas['Problem'];
  readonly retryAfter: number;

  constructor(problem: Schemas['Problem'], response: Response) {
    super(problem.detail);
    this.problem = problem;
    this.retryAfter = Number(response.headers.get('retry-after') ?? 0);
  }
}

interface Answer<Data> {
  readonly data?: Data;
  readonly error?: unknown;
  readonly response: Response;
}

/** The data of an answer. @throws ApiProblem for an error answer. */
export async function take<Data>(answer: Promise<Answer<Data>>): Promise<NonNullable<Data>> {
  const { data, error, response } = await answer;
  if (!response.ok) throw new ApiProblem(asProblem(error, response), response);
  return data as NonNullable<Data>;
}

/** The data with the ETag for `If-Match`. */
export async function takeVersion<Data>(
  answer: Promise<Answer<Data>>,
): Promise<{ data: NonNullable<Data>; etag: string }> {
  const etag = (await answer).response.headers.get('etag') ?? '';
  return { data: await take(answer), etag };
}

function asProblem(error: unknown, response: Response): Schemas['Problem'] {
  if (typeof error === 'object' && error !== null && 'code' in error) return error as Schemas['Problem'];
  const title = t('api.the_server_answered_status', { status: response.status });
  return {
    type: 'about:blank',
    title,
    status: response.status,
    code: 'internal',
    detail: title,
    request_id: '',
  };
}

/** An Idempotency-Key for one attempt: repeating it creates nothing twice, which {@link withKeptKeys} does. */
export function newAttempt(): { 'idempotency-key': string } {
  return { 'idempotency-key': crypto.randomUUID() };
}

/** All pages of a list up to `most` rows: for select fields, not for tables. */
export async function takeAll<Row>(
  page: (cursor: string | undefined) => Promise<Answer<{ data: Row[]; next_cursor: string | null }>>,
  most = 2_000,
): Promise<Row[]> {
  const rows: Row[] = [];
  for (let cursor: string | null | undefined; cursor !== null && rows.length < most; ) {
    const { data, next_cursor } = await take(page(cursor));
    rows.push(...data);
    cursor = next_cursor;
  }
  return rows;
}
