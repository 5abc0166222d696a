/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Floating point: a matrix product, n bodies, a Fourier transform. */
#include <math.h>

#include "work.h"

static uint64_t bits(double d)
{
	uint64_t u;
	memcpy(&u, &d, 8);
	return u;
}

static uint64_t dmatrix(unsigned scale)
{
	enum { N = 128 };
	static double a[N][N], b[N][N], c[N][N];
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++) {
			a[i][j] = 1.0 / (i + j + 1);
			b[i][j] = (i - j) * 0.5;
		}
	for (unsigned r = 0; r < scale; r++) {
		for (int i = 0; i < N; i++)
			for (int k = 0; k < N; k++) {
				double s = a[i][k] + r;
				for (int j = 0; j < N; j++)
					c[i][j] += s * b[k][j];
			}
	}
	uint64_t sum = bits(c[7][11]) ^ bits(c[100][3]);
	memset(c, 0, sizeof(c));
	return sum;
}

struct body { double x[3], v[3], m; };

static uint64_t nbody(unsigned scale)
{
	struct body b[5];
	for (int i = 0; i < 5; i++)
		for (int k = 0; k < 3; k++) {
			b[i].x[k] = (double)(mix((uint64_t)(i * 3 + k)) % 1000) / 100;
			b[i].v[k] = (double)(mix((uint64_t)(i * 3 + k + 50)) % 1000) / 10000;
			b[i].m = 1 + i;
		}
	for (unsigned r = 0; r < scale; r++) {
		for (int i = 0; i < 5; i++)
			for (int j = i + 1; j < 5; j++) {
				double d[3], q = 0.01;
				for (int k = 0; k < 3; k++) {
					d[k] = b[i].x[k] - b[j].x[k];
					q += d[k] * d[k];
				}
				double f = 0.001 / (q * sqrt(q));
				for (int k = 0; k < 3; k++) {
					b[i].v[k] -= d[k] * b[j].m * f;
					b[j].v[k] += d[k] * b[i].m * f;
				}
			}
		for (int i = 0; i < 5; i++)
			for (int k = 0; k < 3; k++)
				b[i].x[k] += 0.001 * b[i].v[k];
	}
	return bits(b[0].x[0]) ^ bits(b[4].v[2]);
}

static uint64_t fft(unsigned scale)
{
	enum { LOG = 12, N = 1 << LOG };
	static double re[N], im[N], wr[N / 2], wi[N / 2];
	double cr = 1, ci = 0, sr = 0.99999882345170188, si = 0.00153398018628476561;
	for (int i = 0; i < N / 2; i++) {
		wr[i] = cr;
		wi[i] = ci;
		double t = cr * sr - ci * si;
		ci = cr * si + ci * sr;
		cr = t;
	}
	for (int i = 0; i < N; i++)
		re[i] = (double)(mix((uint64_t)i) % 1000), im[i] = 0;
	for (unsigned r = 0; r < scale; r++) {
		for (int half = N / 2, step = 1; half; half /= 2, step *= 2)
			for (int g = 0; g < N; g += 2 * half)
				for (int i = 0; i < half; i++) {
					double ar = re[g + i], ai = im[g + i];
					double br = re[g + i + half], bi = im[g + i + half];
					double dr = (ar - br) * 0.5, di = (ai - bi) * 0.5;
					re[g + i] = (ar + br) * 0.5;
					im[g + i] = (ai + bi) * 0.5;
					re[g + i + half] = dr * wr[i * step] - di * wi[i * step];
					im[g + i + half] = dr * wi[i * step] + di * wr[i * step];
				}
		for (int i = 0; i < N; i++)
			re[i] = re[i] * 0.5 + 1;
	}
	return bits(re[5]) ^ bits(im[77]);
}

const struct work float_work[] = {
	{ "dmatrix", "float", dmatrix, 120 },
	{ "nbody", "float", nbody, 400000 },
	{ "fft", "float", fft, 600 },
	{ 0 },
};
