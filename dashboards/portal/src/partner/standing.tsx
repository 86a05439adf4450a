import { usePartner } from '../app/session.tsx';
import { api, take } from '../data/api.ts';
import { useData } from '../data/use-data.ts';

/** Says why the account is not active, in the words that were mailed. */
export function Standing() {
  const { affiliateId } = usePartner();
  const { data } = useData(
    async (signal) => {
      const params = { path: { id: affiliateId } };
      return await take(api.GET('/v1/affiliates/{id}', { params, signal }));
    },
    [affiliateId],
  );
  if (!data || data.status === 'active') return null;
  return (
    <p class="notice warn">
      <span>
        <strong>Your account is {data.status === 'pending' ? 'not approved yet' : data.status}.</strong>{' '}
        <span class="message">{data.status_note}</span>
      </span>
    </p>
  );
}
