import { usePartner } from '../app/session.tsx';
import { api, take } from '../data/api.ts';
import { useData } from '../data/use-data.ts';
import { t } from '../text/t.ts';

const TEXTS = {
  pending: t('standing.pending'),
  suspended: t('standing.suspended'),
  terminated: t('standing.terminated'),
} as const;

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
        <strong>{TEXTS[data.status]}</strong> <span class="message">{data.status_note}</span>
      </span>
    </p>
  );
}
