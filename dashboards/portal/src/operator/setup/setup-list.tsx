import { Link } from '../../app/router.tsx';
import type { Schemas } from '../../data/api.ts';
import { t } from '../../text/t.ts';
import { Card } from '../../ui/basics.tsx';
import { Status } from '../../ui/status.tsx';

type Setup = Schemas['ProgramSetup'];
type StepName = Setup['steps'][number]['name'];

/** Where a step is done; what is not done in the portal says so. */
const PLACES: Readonly<Record<StepName, { to: string; text: string } | string>> = {
  terms: { to: '/terms', text: t('setupList.set_terms') },
  campaign: { to: '/campaigns', text: t('setupList.create_a_campaign') },
  affiliate: { to: '/affiliates', text: t('setupList.add_a_partner') },
  link: { to: '/links', text: t('setupList.create_a_link') },
  shop_key: { to: '/connect', text: t('setupList.connect_the_shop') },
  first_call: { to: '/connect', text: t('setupList.see_what_came') },
  payout_provider: t('setupList.payout_provider_in_the_settings'),
  payout_hold: { to: '/payouts', text: t('setupList.set_the_days') },
  mail: t('setupList.mail_url_in_the_settings'),
};

/** What a program has and lacks until its first partner is paid. */
export function SetupList({ setup }: { setup: Setup }) {
  const open = setup.steps.filter(({ done, required }) => required && !done).length;
  const note = setup.complete
    ? t('setupList.nothing_is_missing_for_orders')
    : t('setupList.steps_missing', { count: open, all: setup.steps.length });
  return (
    <Card title={t('setupList.setup')} note={note}>
      <ol class="setup-steps">
        {setup.steps.map((step) => (
          <li key={step.name}>
            <Status
              of={step.done ? 'active' : step.required ? 'pending' : 'paused'}
              text={
                step.done
                  ? t('setupList.done')
                  : step.required
                    ? t('setupList.missing')
                    : t('setupList.advised')
              }
            />
            <span>
              {t(`step.${step.name}`)} {!step.done && <Place of={PLACES[step.name]} />}
            </span>
          </li>
        ))}
      </ol>
    </Card>
  );
}

function Place({ of: place }: { of: (typeof PLACES)[StepName] }) {
  return typeof place === 'string' ? (
    <span class="hint">{place}</span>
  ) : (
    <Link to={place.to}>{place.text}</Link>
  );
}
