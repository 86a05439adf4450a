import { INVALID_CLICK_FLAGS } from '../../core/clicks/click-record.ts';
import type { ShardCommitter } from '../durability/shard-committer.ts';
import type { ClickCaps } from '../links/caps.ts';
import type { Answers } from './answers.ts';
import type { Click } from './click.ts';
import type { FlagCounts } from './outcomes.ts';

/** Puts a click into the batch that gathers, or refuses it; a click that is refused is not counted. */
export function createRecorder(options: {
  committer: ShardCommitter<Click>;
  caps: ClickCaps;
  answers: Answers;
  flagCounts: FlagCounts;
}): (click: Click) => void {
  const { committer, caps, answers, flagCounts } = options;

  function countAgainstCaps(click: Click): void {
    const { link } = click;
    if (link.dailyClickCap > 0) caps.count(link.capEntity, click);
    if (link.campaign.dailyClickCap > 0) caps.count(link.campaign.capEntity, click);
  }

  return (click) => {
    if (!committer.accept(click)) {
      answers.refuse(click);
      return;
    }
    flagCounts.add(click.flags);
    if ((click.flags & INVALID_CLICK_FLAGS) === 0) countAgainstCaps(click);
  };
}
