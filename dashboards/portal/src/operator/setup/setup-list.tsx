import { Link } from '../../app/router.tsx';
import type { Schemas } from '../../data/api.ts';
import { Card } from '../../ui/basics.tsx';
import { Status } from '../../ui/status.tsx';

type Setup = Schemas['ProgramSetup'];
type StepName = Setup['steps'][number]['name'];

/** Where a step is done; what is not done in the portal says so. */
const PLACES: Readonly<Record<StepName, { to: string; text: string } | string>> = {
  terms: { to: '/terms', text: 'Set terms' },
  campaign: { to: '/campaigns', text: 'Create a campaign' },
  affiliate: { to: '/affiliates', text: 'Add a partner' },
  link: { to: '/links', text: 'Create a link' },
  shop_key: { to: '/connect', text: 'Connect the shop' },
  first_call: { to: '/connect', text: 'See what came' },
  payout_provider: 'PAYOUT_PROVIDER in the settings of the server',
  payout_hold: { to: '/payouts', text: 'Set the days' },
  mail: 'MAIL_URL in the settings of the server',
};

/** What a program has and lacks until its first partner is paid. */
export function SetupList({ setup }: { setup: Setup }) {
  const open = setup.steps.filter(({ done, required }) => required && !done).length;
  const note = setup.complete
    ? 'Nothing is missing for orders to be credited and paid.'
    : `${open} of ${setup.steps.length} steps ${open === 1 ? 'is' : 'are'} missing until the first partner is paid.`;
  return (
    <Card title="Setup" note={note}>
      <ol class="setup-steps">
        {setup.steps.map((step) => (
          <li key={step.name}>
            <Status
              of={step.done ? 'active' : step.required ? 'pending' : 'paused'}
              text={step.done ? 'Done' : step.required ? 'Missing' : 'Advised'}
            />
            <span>
              {step.text} {!step.done && <Place of={PLACES[step.name]} />}
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
