import { useEffect, useState } from 'preact/hooks';
import { type Schemas, SIGNED_IN } from '../data/api.ts';
import { formatClock, formatTime, ZONE_NAME } from '../text/format.ts';
import { t } from '../text/t.ts';

/** How fresh figures are: each page says it of those it shows, the frame of the platform as it is now. */

/** Older figures are marked as late. */
const LATE_MS = 60_000;
const LOOK_MS = 5_000;
const STREAM = '/v1/freshness/stream';
/** After an error answer; the API asks for five seconds where too many streams are open. */
const REOPEN_MS = 5_000;

/** `complete_to` of the platform by server-sent events; undefined before the first one. */
function useLiveCompleteTo(): string | null | undefined {
  const [completeTo, setCompleteTo] = useState<string | null>();
  useEffect(() => {
    let events: EventSource | undefined;
    let reopening: number | undefined;
    const open = () => {
      window.clearTimeout(reopening);
      events?.close();
      const opened = new EventSource(STREAM);
      opened.addEventListener('freshness', (event) => {
        const fresh: Schemas['Freshness'] = JSON.parse(event.data);
        setCompleteTo(fresh.complete_to);
      });
      opened.addEventListener('error', () => {
        // A lost connection is the browser's to repair; an error answer ends the stream for good.
        if (opened === events && opened.readyState === EventSource.CLOSED) {
          window.clearTimeout(reopening);
          reopening = window.setTimeout(open, REOPEN_MS);
        }
      });
      events = opened;
    };
    open();
    window.addEventListener(SIGNED_IN, open);
    return () => {
      window.removeEventListener(SIGNED_IN, open);
      window.clearTimeout(reopening);
      events?.close();
    };
  }, []);
  return completeTo;
}

/** "Complete to 12:03:07 CET", of the figures beside it; `at` is their own `complete_to`, undefined before they are here. */
export function CompleteTo({ at }: { at: string | null | undefined }) {
  return (
    <Badge
      at={at}
      text={(time) => t('freshness.complete_to_completeto', { completeTo: time })}
      title={t('freshness.the_figures_include_every_click')}
    />
  );
}

/** "Orders as of 12:03:07 CET", of the figures beside it; `at` is their own `orders_complete_to`. */
export function OrdersTo({ at }: { at: string | undefined }) {
  return (
    <Badge
      at={at}
      text={(time) => t('freshness.orders_as_of', { completeTo: time })}
      title={t('freshness.the_figures_have_every_order')}
    />
  );
}

/** "Clicks counted to 12:03:07 CET", of the platform now, whatever a page shows. */
export function CountedTo() {
  return (
    <Badge
      at={useLiveCompleteTo()}
      text={(time) => t('freshness.clicks_counted_to', { completeTo: time })}
      title={t('freshness.every_click_before_is_counted')}
    />
  );
}

function Badge(props: { at: string | null | undefined; text: (time: string) => string; title: string }) {
  const { at, text, title } = props;
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), LOOK_MS);
    return () => clearInterval(timer);
  }, []);
  if (at === undefined) return <span class="fresh">{t('freshness.loading_freshness')}</span>;
  const isLate = at === null || now - Date.parse(at) > LATE_MS;
  return (
    <span class={isLate ? 'fresh late' : 'fresh'} title={title}>
      <span class="dot" aria-hidden="true" />
      {at === null ? t('freshness.no_clicks_counted_yet') : text(timeOf(at, now))}
    </span>
  );
}

/** With the day, where that is not today. */
function timeOf(at: string, now: number): string {
  const isToday = new Date(at).toDateString() === new Date(now).toDateString();
  return isToday ? formatClock(at) : `${formatTime(at)} ${ZONE_NAME}`;
}
