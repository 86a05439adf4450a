import type { ComponentChildren } from 'preact';
import { formatChange } from '../text/format.ts';
import { t } from '../text/t.ts';
import { Sparkline } from './charts.tsx';

/** A figure with its change and its trend. */
export function Stat(props: {
  title: string;
  figure: ComponentChildren;
  now?: number;
  /** The same figure in the period before. */
  before?: number | undefined;
  course?: readonly number[] | undefined;
  note?: ComponentChildren;
}) {
  const { title, figure, now = 0, before, course, note } = props;
  const change = before === undefined ? undefined : formatChange(now, before);
  const direction = before === undefined || now === before ? '' : now > before ? 'up' : 'down';
  return (
    <div class="stat">
      <dt>
        <span>{title}</span>
        {change !== undefined && (
          <span class={`delta ${direction}`}>
            {change}
            <span class="hidden">{t('stat.compared_with_the_previous_period')}</span>
          </span>
        )}
      </dt>
      <dd class="figure">{figure}</dd>
      {note && <dd class="delta">{note}</dd>}
      {course && course.length > 1 && (
        <dd>
          <Sparkline values={course} label={t('stat.title_by_day', { title })} />
        </dd>
      )}
    </div>
  );
}
