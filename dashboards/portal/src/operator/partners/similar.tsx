import type { Schemas } from '../../data/api.ts';
import { words } from '../../text/format.ts';
import { listed, t } from '../../text/t.ts';

const BY = {
  mailbox: t('similar.mailbox'),
  payout_account: t('similar.payout_account'),
} as const;

/** Other partners that may be the same person. */
export function Similar({ affiliates }: { affiliates: Schemas['ApplicationDetails']['similar'] }) {
  if (affiliates.length === 0) return null;
  return (
    <div class="notice warn">
      <div>
        <strong>{t('similar.perhaps_the_same_person')}</strong>
        <ul class="sentences">
          {affiliates.map(({ affiliate_id, name, status, same }) => (
            <li key={affiliate_id}>
              {' '}
              {t('similar.one', {
                name,
                id: affiliate_id,
                status: words(status),
                by: listed(same.map((by) => BY[by])),
              })}
            </li>
          ))}
        </ul>
      </div>
    </div>
  );
}
