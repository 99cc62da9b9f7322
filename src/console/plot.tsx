/** Lines over time or over anything that can be counted. */
import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import { useThemeName } from './context.ts';
import { compact } from './format.ts';
import type { Series } from './query-result.ts';

export interface PlotProps {
  /** What it shows, for who cannot see it. */
  readonly label: string;
  /** Ascending; seconds since 1970 when `isTime`. */
  readonly x: readonly number[];
  readonly series: readonly Series[];
  readonly isTime: boolean;
  /** Words instead of numbers below the axis, by their place. */
  readonly names?: readonly string[];
  readonly format?: (value: number) => string;
  readonly height?: number;
}

/** Lines that can be told apart. */
export const MAX_SERIES = 5;

export function Plot(props: PlotProps): VNode {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const theme = useThemeName();
  const shape = JSON.stringify([props.series.map(({ label }) => label), props.isTime, props.names]);

  useEffect(() => {
    const element = host.current;
    if (element === null) {
      return;
    }
    const made = new uPlot(optionsOf(props, element), dataOf(props), element);
    plot.current = made;
    const observer = new ResizeObserver(() => {
      if (element.clientWidth > 0) {
        made.setSize({ width: element.clientWidth, height: props.height ?? 200 });
      }
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
    };
  }, [shape, theme]);
  useEffect(() => {
    plot.current?.setData(dataOf(props));
  });

  return (
    <figure class="plot">
      <figcaption>
        {props.series.map(({ label }, at) => (
          <span key={label} class="key">
            <span class={`swatch series-${at + 1}`} aria-hidden="true" /> {label}
          </span>
        ))}
      </figcaption>
      <div ref={host} class="canvas" role="img" aria-label={props.label} />
    </figure>
  );
}

function dataOf({ x, series }: PlotProps): uPlot.AlignedData {
  return [[...x], ...series.map(({ values }) => [...values])];
}

function optionsOf(props: PlotProps, element: HTMLElement): uPlot.Options {
  const { names, isTime, format = compact } = props;
  const axis: uPlot.Axis = {
    stroke: colorOf('--muted'),
    font: '12px system-ui, sans-serif',
    grid: { stroke: colorOf('--line'), width: 1 },
    ticks: { show: false },
  };
  return {
    width: Math.max(element.clientWidth, 200),
    height: props.height ?? 200,
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { size: 6 } },
    scales: { x: { time: isTime }, y: { range: (_plot, low, high) => rangeOf(low, high) } },
    axes: [
      {
        ...axis,
        size: 32,
        ...(names === undefined
          ? isTime
            ? {
                values: (_plot, ticks) =>
                  ticks.map((tick) => new Date(tick * 1_000).toLocaleTimeString('en-GB')),
                space: 90,
              }
            : {}
          : {
              values: (_plot: uPlot, ticks: number[]) => ticks.map((tick) => names[tick]?.slice(0, 12) ?? ''),
              incrs: [1, 2, 5, 10, 20, 50, 100],
              space: 90,
            }),
      },
      { ...axis, size: 56, values: (_plot, ticks) => ticks.map(format) },
    ],
    series: [
      {},
      ...props.series.map(({ label }, at): uPlot.Series => {
        const color = colorOf(`--series-${at + 1}`);
        return {
          label,
          stroke: color,
          width: 2,
          points: { show: props.x.length < 40, fill: color, size: 5 },
        };
      }),
    ],
  };
}

/** From zero where nothing is below it, and never flat. */
function rangeOf(low: number | null, high: number | null): [number, number] {
  const from = Math.min(0, low ?? 0);
  const to = Math.max(high ?? 0, from);
  return [from * 1.1, to === from ? from + 1 : to * 1.1];
}

/** A color of the style sheet, as the canvas wants it. */
function colorOf(name: string): string {
  const probe = document.createElement('span');
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
