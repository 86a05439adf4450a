import { mayRead, useSession } from '../app/session.tsx';
import { api, type Schemas, takeAll } from './api.ts';
import { useData } from './use-data.ts';

type Named = readonly [id: string, name: string];
type Query = { program_id: string; cursor: string | undefined; limit: number };
type Kind = 'affiliates' | 'campaigns' | 'links' | 'users' | 'keys';

const PAGE_ROWS = 500;
const DEFAULT_KINDS: readonly Kind[] = ['affiliates'];

/** How each kind is listed; links go by their code, users and keys also by the name that the audit log has for them. */
const LISTS: Readonly<Record<Kind, (query: Omit<Query, 'cursor'>) => Promise<Named[]>>> = {
  affiliates: async (query) => {
    const rows = await takeAll((cursor) =>
      api.GET('/v1/affiliates', { params: { query: { ...query, cursor } } }),
    );
    return rows.map(({ id, name }) => [id, name]);
  },
  campaigns: async (query) => {
    const rows = await takeAll((cursor) =>
      api.GET('/v1/campaigns', { params: { query: { ...query, cursor } } }),
    );
    return rows.map(({ id, name }) => [id, name]);
  },
  links: async (query) => {
    const rows = await takeAll((cursor) => api.GET('/v1/links', { params: { query: { ...query, cursor } } }));
    return rows.map(({ id, code }) => [id, code]);
  },
  users: async ({ limit }) => {
    const rows = await takeAll((cursor) => api.GET('/v1/users', { params: { query: { limit, cursor } } }));
    return rows.flatMap(({ id, name }) => [
      [id, name],
      [actorOf(id), name],
    ]);
  },
  keys: async (query) => {
    const rows = await takeAll((cursor) =>
      api.GET('/v1/api-keys', { params: { query: { ...query, cursor } } }),
    );
    return rows.flatMap(({ id, name }) => [
      [id, name],
      [actorOf(id), name],
    ]);
  },
};

/** `usr_1` as the audit log names who acts: `user:1`. */
export function actorOf(id: string): string {
  return id.replace(/^usr_/, 'user:').replace(/^key_/, 'key:');
}

/** Lists under way, for all parts of a page that name the same: Payouts asked twice for its users and keys. */
const inFlight = new Map<string, Promise<Named[]>>();

/** Is not cancelled with the part that asked first: another one, or the next page, waits for the same. */
async function list(kind: Kind, programId: string, userId: string): Promise<Named[]> {
  const key = `${kind} ${programId} ${userId}`;
  const found = inFlight.get(key);
  if (found) return await found;
  const loading = LISTS[kind]({ program_id: programId, limit: PAGE_ROWS }).finally(() =>
    inFlight.delete(key),
  );
  inFlight.set(key, loading);
  return await loading;
}

/** Names of the program's partners, or of other kinds, by id, for roles that can list them. */
export function useNames(kinds = DEFAULT_KINDS): ReadonlyMap<string, string> {
  const { program, user } = useSession();
  const listed = kinds.filter((kind) => mayList(kind, user.role));
  const { data } = useData(async () => {
    const lists = await Promise.all(listed.map(async (kind) => await list(kind, program.id, user.id)));
    return new Map(lists.flat());
  }, [program.id, listed]);
  return data ?? new Map();
}

function mayList(kind: Kind, role: Schemas['User']['role']): boolean {
  return kind === 'campaigns' || mayRead(kind, role);
}
