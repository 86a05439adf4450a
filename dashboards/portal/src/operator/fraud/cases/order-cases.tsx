import { Link } from '../../../app/router.tsx';
import { useSession } from '../../../app/session.tsx';
import { api, take } from '../../../data/api.ts';
import { useData } from '../../../data/use-data.ts';
import { words } from '../../../text/format.ts';
import { t } from '../../../text/t.ts';
import { Problem } from '../../../ui/basics.tsx';

/** Cases of an order that are shown: the newest. */
const MOST_SHOWN = 5;

/** The cases that an order is in, and how to begin one where none is open. */
export function OrderCases({ orderId }: { orderId: string }) {
  const { program } = useSession();
  const { data, error, reload } = useData(
    async (signal) => {
      const query = { program_id: program.id, conversion_id: orderId, limit: MOST_SHOWN };
      return await take(api.GET('/v1/cases', { params: { query }, signal }));
    },
    [orderId],
  );
  if (error !== undefined) return <Problem error={error} onRetry={reload} />;
  if (!data) return null;
  const isInOpenCase = data.data.some(({ state }) => state === 'open');
  return (
    <div class="actions">
      {data.data.map(({ id, title, state }) => (
        <Link key={id} to={`/cases/${id}`}>
          {t('orderDetails.case_title_state', { title, state: words(state) })}
        </Link>
      ))}
      {!isInOpenCase && <Link to={`/cases?related=${orderId}`}>{t('orderDetails.open_a_case')}</Link>}
    </div>
  );
}
