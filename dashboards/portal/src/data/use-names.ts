import { mayRead, useSession } from '../app/session.tsx';
import { api, takeAll } from './api.ts';
import { useData } from './use-data.ts';

/** Names of the program's partners by id, for roles that can list them. */
export function useNames(): ReadonlyMap<string, string> {
  const { program, user } = useSession();
  const { data } = useData(
    async (signal) => {
      if (!mayRead('affiliates', user.role)) return new Map<string, string>();
      const affiliates = await takeAll((cursor) => {
        const query = { program_id: program.id, cursor, limit: 500 };
        return api.GET('/v1/affiliates', { params: { query }, signal });
      });
      return new Map(affiliates.map(({ id, name }) => [id, name]));
    },
    [program.id],
  );
  return data ?? new Map();
}
