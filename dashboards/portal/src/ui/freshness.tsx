import { createContext } from 'preact';
import { useContext, useEffect, useState } from 'preact/hooks';
import type { Schemas } from '../data/api.ts';
import { formatClock } from '../text/format.ts';
import { t } from '../text/t.ts';

/** `complete_to` for the whole portal, shown beside the figures. */

/** Older figures are marked as late. */
const LATE_MS = 60_000;
const LOOK_MS = 5_000;

export interface Freshness {
  readonly completeTo: string | null;
  readonly isLate: boolean;
}

const Context = createContext<Freshness | undefined>(undefined);
export const FreshnessProvider = Context.Provider;

/** Updated by server-sent events; the browser reconnects automatically. */
export function useLiveFreshness(): Freshness | undefined {
  const [freshness, setFreshness] = useState<Schemas['Freshness']>();
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const events = new EventSource('/v1/freshness/stream');
    events.addEventListener('freshness', (event) => setFreshness(JSON.parse(event.data)));
    const timer = setInterval(() => setNow(Date.now()), LOOK_MS);
    return () => {
      events.close();
      clearInterval(timer);
    };
  }, []);
  if (!freshness) return undefined;
  const { complete_to: completeTo } = freshness;
  return { completeTo, isLate: completeTo === null || now - Date.parse(completeTo) > LATE_MS };
}

export function useFreshness(): Freshness | undefined {
  return useContext(Context);
}

/** "Complete to 12:03:07 CET". */
export function CompleteTo() {
  const fresh = useFreshness();
  if (!fresh) return <span class="fresh">{t('freshness.loading_freshness')}</span>;
  const { completeTo, isLate } = fresh;
  return (
    <span class={isLate ? 'fresh late' : 'fresh'} title={t('freshness.the_figures_include_every_click')}>
      <span class="dot" aria-hidden="true" />
      {completeTo === null
        ? t('freshness.no_clicks_counted_yet')
        : t('freshness.complete_to_completeto', { completeTo: formatClock(completeTo) })}
    </span>
  );
}
