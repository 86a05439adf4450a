import { mayRead, useSession } from '../app/session.tsx';
import { api, type Schemas, takeAll } from './api.ts';
import { useData } from './use-data.ts';

type Named = readonly [id: string, name: string];
type Query = { program_id: string; cursor: string | undefined; limit: number };
type Kind = 'affiliates' | 'campaigns' | 'links' | 'users' | 'keys';

const PAGE_ROWS = 500;
const DEFAULT_KINDS: readonly Kind[] = ['affiliates'];

/** How each kind is listed; links go by their code, users and keys also by the name that the audit log has for them. */
const LISTS: Readonly<Record<Kind, (query: Omit<Query, 'cursor'>, signal: AbortSignal) => Promise<Named[]>>> =
  {
    affiliates: async (query, signal) => {
      const rows = await takeAll((cursor) =>
        api.GET('/v1/affiliates', { params: { query: { ...query, cursor } }, signal }),
      );
      return rows.map(({ id, name }) => [id, name]);
    },
    campaigns: async (query, signal) => {
      const rows = await takeAll((cursor) =>
        api.GET('/v1/campaigns', { params: { query: { ...query, cursor } }, signal }),
      );
      return rows.map(({ id, name }) => [id, name]);
    },
    links: async (query, signal) => {
      const rows = await takeAll((cursor) =>
        api.GET('/v1/links', { params: { query: { ...query, cursor } }, signal }),
      );
      return rows.map(({ id, code }) => [id, code]);
    },
    users: async ({ limit }, signal) => {
      const rows = await takeAll((cursor) =>
        api.GET('/v1/users', { params: { query: { limit, cursor } }, signal }),
      );
      return rows.flatMap(({ id, name }) => [
        [id, name],
        [actorOf(id), name],
      ]);
    },
    keys: async (query, signal) => {
      const rows = await takeAll((cursor) =>
        api.GET('/v1/api-keys', { params: { query: { ...query, cursor } }, signal }),
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

/** Names of the program's partners, or of other kinds, by id, for roles that can list them. */
export function useNames(kinds = DEFAULT_KINDS): ReadonlyMap<string, string> {
  const { program, user } = useSession();
  const listed = kinds.filter((kind) => mayList(kind, user.role));
  const { data } = useData(
    async (signal) => {
      const query = { program_id: program.id, limit: PAGE_ROWS };
      const lists = await Promise.all(listed.map(async (kind) => await LISTS[kind](query, signal)));
      return new Map(lists.flat());
    },
    [program.id, listed],
  );
  return data ?? new Map();
}

function mayList(kind: Kind, role: Schemas['User']['role']): boolean {
  return kind === 'campaigns' || mayRead(kind, role);
}
